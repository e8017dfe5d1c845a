// Tests the states of signing keys, by cases and by a model: several processes that read, rotate, lose and regain their
// Redis in any order.
// Guarantees: invariants are checked after every step, not at the end.
import type { SigningKeyRecord, SigningKeyState } from "@petrel/shared/redis/auth/signing-keys-store";
import { signingKeyStates } from "@petrel/shared/redis/auth/signing-keys-store";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import {
  addUpcomingKey,
  advanceKeySet,
  joinKeySets,
  type KeySet,
  keyThatIsMissing,
  replaceAllKeys,
} from "./signing-key-set.js";

const times = { leadMs: 100, rotateAfterMs: 1_000, keepRetiredMs: 500, keepWithdrawnMs: 5_000 };

function key(kid: string, createdAtMs: number, more: Partial<SigningKeyRecord> = {}): SigningKeyRecord {
  return { kid, alg: "ES256", state: "upcoming", sealedPrivateKey: `sealed ${kid}`, createdAtMs, ...more };
}

const active = (kid: string, atMs: number): SigningKeyRecord =>
  key(kid, atMs, { state: "active", activatedAtMs: atMs });
const rankOf = (state: SigningKeyState): number => signingKeyStates.indexOf(state);
const statesOf = (keys: KeySet): string => keys.map(({ kid, state }) => `${kid} ${state}`).join(", ");

describe("a key's life", () => {
  test("is upcoming for the lead, active, retired while its tokens live, then gone", () => {
    let keys: KeySet = addUpcomingKey([active("a", 0)], key("b", 1_000));
    keys = advanceKeySet(keys, 1_099, times);
    expect(statesOf(keys)).toBe("a active, b upcoming");
    keys = advanceKeySet(keys, 1_100, times);
    expect(statesOf(keys)).toBe("a retired, b active");
    keys = advanceKeySet(keys, 1_599, times);
    expect(statesOf(keys)).toBe("a retired, b active");
    expect(statesOf(advanceKeySet(keys, 1_600, times))).toBe("b active");
  });

  test("the next key is made once, early enough to sign on time", () => {
    const keys = [active("a", 0)];
    expect(keyThatIsMissing([], 0, times)).toBe("active");
    expect(keyThatIsMissing(keys, 899, times)).toBeUndefined();
    expect(keyThatIsMissing(keys, 900, times)).toBe("upcoming");
    expect(keyThatIsMissing(keys, 1e9, { ...times, rotateAfterMs: 0 })).toBeUndefined();
    const brought = addUpcomingKey(keys, key("b", 900));
    expect(keyThatIsMissing(brought, 900, times)).toBeUndefined();
    expect(statesOf(addUpcomingKey(brought, key("c", 901)))).toBe("a active, b upcoming");
  });

  test("immediately: one key signs, and only the ids of the others remain", () => {
    const before = [key("r", 0, { state: "retired", retiredAtMs: 1 }), active("a", 1), key("u", 2)];
    const keys = replaceAllKeys(before, key("n", 50), 60);
    expect(statesOf(keys)).toBe("r withdrawn, a withdrawn, u withdrawn, n active");
    expect(keys.map(({ sealedPrivateKey }) => sealedPrivateKey)).toEqual(["", "", "", "sealed n"]);
    // An older copy of the data brings none of them back.
    expect(statesOf(advanceKeySet(joinKeySets(before, keys), 60, times))).toBe(statesOf(keys));
    expect(statesOf(advanceKeySet(keys, 5_060, times))).toBe("n active");
  });

  test("of two active keys, after a loss of data, the newer one stays active and the other's tokens stay valid", () => {
    const keys = advanceKeySet(joinKeySets([active("a", 1)], [active("b", 2)]), 10, times);
    expect(statesOf(keys)).toBe("a retired, b active");
    expect(keys[0]?.retiredAtMs).toBe(10);
  });
});

interface Process {
  keys: KeySet;
}

type Step =
  | { readonly what: "look" | "rotate" | "replace"; readonly by: number }
  /** Computes its proposal, but dies or loses the race before it is written. */
  | { readonly what: "stall"; readonly by: number }
  | { readonly what: "wait"; readonly ms: number }
  | { readonly what: "lose" }
  | { readonly what: "restore" };

const by = fc.integer({ min: 0, max: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant("look" as const), by }) },
  { weight: 3, arbitrary: fc.record({ what: fc.constant("rotate" as const), by }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("replace" as const), by }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("stall" as const), by }) },
  {
    weight: 6,
    arbitrary: fc.record({ what: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 400 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ what: "lose" as const }) },
  { weight: 1, arbitrary: fc.constant({ what: "restore" as const }) },
);

test("in any order of steps a state only moves forward, and no key signs before its lead", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const processes: Process[] = [{ keys: [] }, { keys: [] }, { keys: [] }];
      let redis: KeySet = [];
      let copy: KeySet = [];
      let nowMs = 10_000;
      let made = 0;
      // Those that sign from their beginning: the first one, and whoever takes a compromised one's place.
      const atOnce = new Set<string>();
      const isOverlapping = new Set<string>();

      const propose = (process: Process, what: Step["what"]): KeySet => {
        let keys = advanceKeySet(joinKeySets(redis, process.keys), nowMs, times);
        const missing = keyThatIsMissing(keys, nowMs, times);
        const fresh = (): SigningKeyRecord => key(`k${String(made++).padStart(3, "0")}`, nowMs);
        if (missing === "upcoming") keys = addUpcomingKey(keys, fresh());
        if (missing === "active") {
          const first = { ...fresh(), state: "active" as const, activatedAtMs: nowMs };
          atOnce.add(first.kid);
          keys = joinKeySets(keys, [first]);
        }
        if (what === "rotate") keys = addUpcomingKey(keys, fresh());
        if (what === "replace") {
          const next = fresh();
          atOnce.add(next.kid);
          keys = replaceAllKeys(keys, next, nowMs);
        }
        return keys;
      };

      for (const one of steps) {
        if (one.what === "wait") nowMs += one.ms;
        else if (one.what === "lose") {
          copy = redis;
          redis = [];
        } else if (one.what === "restore") redis = copy;
        else {
          const process = processes[one.by] as Process;
          const before = process.keys;
          const wanted = propose(process, one.what);
          if (one.what === "stall") continue;
          redis = wanted;
          process.keys = wanted;
          // One signs.
          expect(wanted.filter(({ state }) => state === "active")).toHaveLength(1);
          for (const { kid, state } of before) {
            const now = wanted.find((found) => found.kid === kid)?.state;
            // Keys that this process knew as active or upcoming may meanwhile have been retired by others.
            if (now !== undefined)
              expect(rankOf(now), `${kid} was ${state}`).toBeGreaterThanOrEqual(rankOf(state));
          }
          for (const { kid, state, sealedPrivateKey, activatedAtMs = 0, createdAtMs } of wanted) {
            expect(sealedPrivateKey === "").toBe(state === "withdrawn");
            if (state === "active" && !atOnce.has(kid) && isOverlapping.has(kid))
              expect(activatedAtMs - createdAtMs, kid).toBeGreaterThanOrEqual(times.leadMs);
            if (state === "upcoming" && wanted.some((found) => found.state === "active"))
              isOverlapping.add(kid);
          }
        }
      }
    }),
    { numRuns: sized(1_000, 300) },
  );
});

test("joining is commutative, associative and idempotent", () => {
  const record = fc
    .record({
      kid: fc.constantFrom("a", "b", "c"),
      state: fc.constantFrom(...signingKeyStates),
    })
    // There is only one text for a key in one state.
    .map(({ kid, state }) => key(kid, kid.charCodeAt(0), { state }));
  const set = fc.uniqueArray(record, { selector: ({ kid }) => kid }).map((keys) => joinKeySets([], keys));
  fc.assert(
    fc.property(set, set, set, (a, b, c) => {
      expect(joinKeySets(a, b)).toEqual(joinKeySets(b, a));
      expect(joinKeySets(a, joinKeySets(b, c))).toEqual(joinKeySets(joinKeySets(a, b), c));
      expect(joinKeySets(a, a)).toEqual(a);
    }),
  );
});
