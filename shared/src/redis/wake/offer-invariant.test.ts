// Tests the invariants of wake and offer in random orders, with time that passes by leaps.
// Guarantees: a message goes to the fallback at most once. It never goes when it is acknowledged, nor while its user
// may still take it (a grace lease, or a node that listens and less than a timeout). In the end it always goes, even
// where the fallback's streams are full most of the time. No stream exceeds its cap.
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { decodeFallbackEntry } from "../../protocol/fallback/fallback-entry.js";
import { priorities, type Priority } from "../../protocol/messages/stored-message.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "../inbox/ack-users.js";
import { connectRedis } from "../connection/connect.js";
import { createLogger } from "../../kernel/logging/logging.js";
import { offerUsers } from "./offer-users.js";
import { takePartition } from "../partitions/partition-lease.js";
import { connectRoute } from "../routes/connect-routes.js";
import { removeRoute } from "../routes/route-store.js";
import { readDueUsers, wakeUsers } from "./wake-users.js";

const T = 10_000;
const GRACE_MS = 3_000;
const CONFIRM_MS = 1_000;
/** So few that streams are full most of the time. */
const FALLBACK_CAP = 1;
const RULES = { absenceInMs: 0, settleMs: 5_000, confirmMs: CONFIRM_MS, fallbackCap: FALLBACK_CAP };
const USER = "u1";
const NODE = "n1";
const numRuns = sized(1_000, 35);

type Step =
  | {
      readonly do: "accept";
      readonly fallback: "offline" | "never" | "always";
      readonly notifies: boolean;
      readonly priority: Priority;
    }
  | { readonly do: "ack"; readonly upTo: number }
  | { readonly do: "connect" }
  | { readonly do: "close"; readonly isSignOut: boolean }
  | { readonly do: "listen"; readonly on: boolean }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "wake" }
  | { readonly do: "offer" }
  | { readonly do: "work" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constant("accept" as const),
      fallback: fc.constantFrom("offline", "offline", "offline", "never", "always"),
      notifies: fc.integer({ min: 0, max: 4 }).map((n) => n > 0),
      priority: fc.constantFrom("high", "normal", "low", "low"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("ack" as const), upTo: fc.nat(6) }) },
  { weight: 2, arbitrary: fc.constant({ do: "connect" } as const) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("close" as const), isSignOut: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("listen" as const), on: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("wait" as const),
      ms: fc.constantFrom(100, CONFIRM_MS, GRACE_MS + 100, T / 2, T),
    }),
  },
  { weight: 5, arbitrary: fc.constant({ do: "wake" } as const) },
  { weight: 2, arbitrary: fc.constant({ do: "offer" } as const) },
  { weight: 2, arbitrary: fc.constant({ do: "work" } as const) },
);

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
afterAll(() => store.close());

/** Lets time pass: moves all times that Redis has noted into the past. */
async function leap(ms: number): Promise<void> {
  const { redis, keys } = store;
  if ((await redis.zscore(keys.due, USER)) !== null) await redis.zincrby(keys.due, -ms, USER);
  for (const field of ["nudgedAt", "spared", "unheardAt", "graceFrom", "ackedAt"]) {
    if (await redis.hexists(keys.user(USER), field)) await redis.hincrby(keys.user(USER), field, -ms);
  }
  for (const member of await redis.zrange(keys.routes(USER), "0", "-1")) {
    // A node renews a live route; a grace lease runs out.
    if (member.includes("/-/")) await redis.zincrby(keys.routes(USER), -ms, member);
  }
}

test("a message is offered at most once, never too soon, and always in the end", async () => {
  const logger = createLogger({ service: "test", level: "silent" });
  const subscriber = await connectRedis({ url: store.server.url, role: "node", logger });
  const { redis, scripts, keys } = store;
  const limits = { leaseMs: 600_000, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: T } as const;

  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30, size: "max" }), async (steps) => {
      await redis.flushall();
      await subscriber.sunsubscribe(keys.channel + NODE);
      const lease = await takePartition(scripts, keys, "a", 600_000);
      const token = lease.outcome === "held" ? lease.token : "";
      let passedMs = 0;
      let member: string | undefined;
      let graceUntilMs = 0;
      let listens = false;
      let unheardSinceMs: number | undefined;
      let epoch = "";
      let acked = 0;
      const seen = new Set<string>();
      const messages: { readonly id: string; readonly atMs: number; readonly isEligible: boolean }[] = [];
      const offered = new Set<string>();

      const lookAtOffers = async (): Promise<void> => {
        const streams = await Promise.all(
          priorities.map(async (priority) => {
            const found = await redis.xrange(keys.fallback(priority), "-", "+");
            expect(found.length, "bounded").toBeLessThanOrEqual(FALLBACK_CAP);
            return found.map(([id, fields]) => ({ name: `${priority} ${id}`, fields }));
          }),
        );
        for (const { name, fields } of streams.flat()) {
          if (seen.has(name)) continue;
          seen.add(name);
          const entry = decodeFallbackEntry(fields[1] ?? "");
          expect(offered.has(entry.id), "offered twice").toBe(false);
          offered.add(entry.id);
          if (entry.fallback === "always") continue;
          expect(messages[entry.seq - 1]?.isEligible, "not eligible").toBe(true);
          expect(entry.seq, "acknowledged").toBeGreaterThan(acked);
          if (member !== undefined && listens) {
            // (The few ms that the test itself takes are real.)
            const ageMs = passedMs - (messages[entry.seq - 1]?.atMs ?? 0);
            expect(ageMs, "not a timeout old").toBeGreaterThanOrEqual(T);
          } else if (member !== undefined) {
            expect(passedMs - (unheardSinceMs ?? passedMs), "not confirmed").toBeGreaterThanOrEqual(
              CONFIRM_MS,
            );
          } else {
            expect(passedMs, "in its grace").toBeGreaterThanOrEqual(graceUntilMs);
          }
        }
      };
      const wake = async (): Promise<void> => {
        const due = await readDueUsers(redis, keys, (await store.nowMs()) + 50, 200);
        if (due.length === 0) return;
        // A few ms early the outcome would be "later": the real waker would come again.
        await redis.zincrby(keys.due, -60, USER);
        await wakeUsers(scripts, keys, token, { ...RULES, ackTimeoutMs: T }, due);
        await lookAtOffers();
      };

      const run = async (one: Step): Promise<void> => {
        switch (one.do) {
          case "accept": {
            const id = `m${messages.length + 1}`;
            const { fallback, priority } = one;
            const notification = one.notifies ? '{"title":"t"}' : "";
            const result = await store
              .accepter({ ackTimeoutMs: T, fallbackCap: FALLBACK_CAP })
              .accept(message({ id, fallback, priority, notification }))
              .catch((error: unknown) => error as Error);
            if (result instanceof Error) {
              expect(fallback, result.message).toBe("always");
              expect(await redis.xlen(keys.fallback(priority))).toBe(FALLBACK_CAP);
              return;
            }
            if (result.outcome !== "stored") throw new Error(result.outcome);
            ({ epoch } = result);
            const isEligible = one.fallback === "offline" && one.notifies;
            messages.push({ id, atMs: passedMs, isEligible });
            return lookAtOffers();
          }
          case "ack":
            if (epoch === "") return;
            acked = Math.max(acked, Math.min(one.upTo, messages.length));
            await ackUsers(scripts, keys, [{ userId: USER, epoch, seq: one.upTo }], 100);
            return;
          case "connect": {
            if (member !== undefined) return;
            const route = { userId: USER, node: NODE, connection: "c1", platform: "web" };
            const result = await connectRoute(scripts, keys, route, limits);
            if (result.outcome === "connected") ({ member, epoch } = result);
            unheardSinceMs = undefined;
            return;
          }
          case "close":
            if (member === undefined) return;
            await removeRoute(scripts, keys, USER, member, one.isSignOut ? 0 : GRACE_MS);
            member = undefined;
            // The test's own time is real, and makes a grace a little shorter.
            graceUntilMs = one.isSignOut ? 0 : passedMs + GRACE_MS - 1_000;
            return;
          case "listen":
            listens = one.on;
            if (one.on) await subscriber.ssubscribe(keys.channel + NODE);
            else await subscriber.sunsubscribe(keys.channel + NODE);
            return;
          case "wait":
            passedMs += one.ms;
            return leap(one.ms);
          case "wake":
            if (member !== undefined && !listens) unheardSinceMs ??= passedMs;
            return wake();
          case "work":
            await redis.del(...priorities.map((priority) => keys.fallback(priority)));
            // A new stream may give an entry the id of an old one, within the same millisecond.
            seen.clear();
            return;
          case "offer":
            if (member !== undefined) unheardSinceMs ??= passedMs;
            // As the dispatcher does after a hand-over that reached nobody.
            if (member !== undefined && listens) return;
            await offerUsers(scripts, keys, token, RULES, [], [USER]);
            return lookAtOffers();
        }
      };
      for (const one of steps) await run(one);

      const isOpen = (seq: number): boolean => seq > acked;
      if (messages.some((_, i) => isOpen(i + 1))) {
        expect(await redis.zscore(keys.due, USER), "watched").not.toBeNull();
      }
      // Nobody acknowledges any more: all that is open and may go to the fallback does.
      for (let round = 0; round < 6 + 4 * messages.length; round++) {
        await run({ do: "work" });
        await run({ do: "wait", ms: T });
        await run({ do: "wake" });
      }
      const missing = messages.filter(
        ({ id, isEligible }, i) => isEligible && isOpen(i + 1) && !offered.has(id),
      );
      expect(missing).toEqual([]);
    }),
    { numRuns },
  );
  subscriber.disconnect();
}, 240_000);
