// Tests the limiter's arithmetic against a model that remembers every take.
// Guarantees: never more than the limit in any window; a refusal only of what would exceed it in a window that is a
// sub-window longer; the script and its twin in TypeScript agree; a clock that goes back locks nobody out for long.
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { subWindowMs, WindowRing } from "../../kernel/limits/window-ring.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { SteppedScripts } from "../../testing/redis/stepped-scripts.js";
import { clusterKeys } from "../keys.js";

let store: OpenStore;
let scripts: SteppedScripts;
beforeAll(async () => {
  store = await openStore();
  scripts = new SteppedScripts(store.redis);
});
beforeEach(() => store.clear());
afterAll(() => store.close());

const START_MS = 1_800_000_000_000;

interface Answer {
  readonly answers: string;
  readonly extra: number;
  readonly used: number;
  /** How long until each share leaves the window, oldest first, ms. */
  readonly shares: readonly { readonly leavesInMs: number; readonly count: number }[];
}

async function takeAt(
  nowMs: number,
  { key = "k", windowMs, limit }: { key?: string; windowMs: number; limit: number },
  takes: readonly number[],
  { reported = 0, extra = 0 } = {},
): Promise<Answer> {
  const subMs = subWindowMs(windowMs);
  const held = Math.ceil(windowMs / subMs);
  const [, text] = await Promise.all([
    scripts.setNow(nowMs),
    scripts.run(
      "take-from-window.v1",
      [clusterKeys.limitWindow("test", windowMs, key)],
      [subMs, held, limit, reported, extra, ...takes],
    ),
  ]);
  const [head = "", ring = ""] = text.split("\n");
  const [answers = "", gotExtra, used, left] = head.split(" ");
  const shares =
    ring === ""
      ? []
      : ring.split(" ").map((share) => {
          const [age, count] = share.split(":");
          return { leavesInMs: (held - Number(age)) * subMs + Number(left), count: Number(count) };
        });
  return { answers, extra: Number(gotExtra), used: Number(used), shares };
}

const arrivals = (windowMs: number) =>
  fc.array(
    fc.record({
      gapMs: fc.oneof(
        { weight: 4, arbitrary: fc.constant(0) },
        { weight: 6, arbitrary: fc.integer({ min: 1, max: Math.ceil(windowMs / 10) }) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 2 * windowMs }) },
      ),
      count: fc.integer({ min: 1, max: 12 }),
    }),
    { minLength: 30, maxLength: 80, size: "max" },
  );

const sumIn = (taken: readonly { atMs: number; count: number }[], afterMs: number, untilMs: number): number =>
  taken.reduce((sum, { atMs, count }) => (atMs > afterMs && atMs <= untilMs ? sum + count : sum), 0);

describe("under random arrivals", () => {
  test.each([
    { windowMs: 10_000, limit: 20 },
    { windowMs: 1_000, limit: 37 },
    { windowMs: 60_000, limit: 5 },
  ])(
    "never more than $limit in any $windowMs ms; and no less than a sub-window's share below it",
    async (rule) => {
      const { windowMs, limit } = rule;
      const subMs = subWindowMs(windowMs);
      let run = 0;
      let granted = 0;
      let refused = 0;
      await fc.assert(
        fc.asyncProperty(arrivals(windowMs), fc.nat({ max: windowMs }), async (all, offsetMs) => {
          const key = `k${run++}`;
          const ring = new WindowRing(windowMs);
          const taken: { atMs: number; count: number }[] = [];
          let nowMs = START_MS + offsetMs;
          for (const { gapMs, count } of all) {
            nowMs += gapMs;
            const { answers, used, shares } = await takeAt(nowMs, { key, ...rule }, [count]);
            expect(ring.take(count, limit, nowMs) ? "+" : "-", "the twin").toBe(answers);
            expect(ring.usedAt(nowMs)).toBe(used);
            if (answers === "+") {
              granted++;
              taken.push({ atMs: nowMs, count });
              // Only where something was taken can a window be fuller than before, so only this one is checked.
              expect(sumIn(taken, nowMs - windowMs, nowMs)).toBeLessThanOrEqual(limit);
            } else {
              refused++;
              expect(sumIn(taken, nowMs - windowMs - subMs, nowMs) + count).toBeGreaterThan(limit);
              if (count > limit) continue;
              // The time that is named is the first at which it would be granted.
              const waitMs = ring.waitMs(count, limit, nowMs);
              let left = used;
              const inMs = shares.find((share) => (left -= share.count) + count <= limit)?.leavesInMs;
              expect(waitMs).toBe(inMs);
              expect(waitMs).toBeGreaterThan(0);
              expect(waitMs).toBeLessThanOrEqual(windowMs + subMs);
            }
          }
        }),
        { numRuns: sized(80, 15), endOnFailure: true },
      );
      expect(granted).toBeGreaterThan(sized(100, 50));
      expect(refused).toBeGreaterThan(sized(100, 50));
    },
  );
});

const rule = { windowMs: 10_000, limit: 10 } as const;

test("several takes of one call each pass completely or not at all, in order", async () => {
  expect(await takeAt(START_MS, rule, [4, 5, 3, 1])).toMatchObject({ answers: "++-+", used: 10 });
});

test("takes ahead up to the limit, and never after a refusal", async () => {
  expect(await takeAt(START_MS, rule, [2], { extra: 3 })).toMatchObject({ extra: 3, used: 5 });
  expect(await takeAt(START_MS, rule, [6], { extra: 3 })).toMatchObject({ answers: "-", extra: 0, used: 5 });
  expect(await takeAt(START_MS, rule, [1], { extra: 30 })).toMatchObject({ extra: 4, used: 10 });
});

test("counts earlier takes beyond a lowered limit, and grants nothing until they have left", async () => {
  expect(await takeAt(START_MS, rule, [1], { reported: 25 })).toMatchObject({ answers: "-", used: 25 });
  expect(await takeAt(START_MS + 10_000, rule, [1])).toMatchObject({ answers: "-" });
  expect(await takeAt(START_MS + 10_250, rule, [1])).toMatchObject({ answers: "+", used: 1 });
});

test("a refusal uses nothing, and a key is removed when nothing of it counts any more", async () => {
  await takeAt(START_MS, rule, [10]);
  const key = clusterKeys.limitWindow("test", rule.windowMs, "k");
  const before = await store.redis.get(key);
  await takeAt(START_MS + 1, rule, [1]);
  expect(await store.redis.get(key)).toBe(before);
  const ttlMs = await store.redis.pttl(key);
  expect(ttlMs).toBeGreaterThan(0);
  expect(ttlMs).toBeLessThanOrEqual(10_250);
});

test("constant memory: a busy key holds no more than its ring", async () => {
  for (let i = 0; i < 300; i++)
    await takeAt(START_MS + i * 137, { windowMs: 10_000, limit: 1e9 }, [1_000_000]);
  const text = (await store.redis.get(clusterKeys.limitWindow("test", 10_000, "k"))) ?? "";
  expect(text.split(" ").length).toBe(41);
  expect(text.length).toBeLessThan(1_000);
});

describe("a Redis clock set back an hour", () => {
  const backMs = START_MS - 3_600_000;

  test("locks nobody out for longer than a fresh take would", async () => {
    await takeAt(START_MS, rule, [10]);
    expect(await takeAt(backMs, rule, [1])).toMatchObject({ answers: "-" });
    // Refused on the way too: a refusal must not move it again.
    for (let inMs = 500; inMs < 10_000; inMs += 500) {
      expect(await takeAt(backMs + inMs, rule, [1])).toMatchObject({ answers: "-" });
    }
    expect(await takeAt(backMs + 10_250, rule, [1])).toMatchObject({ answers: "+", used: 1 });
  });

  test("lets nobody take more: earlier takes still count", async () => {
    await takeAt(START_MS, rule, [4]);
    await takeAt(START_MS + 5_000, rule, [3]);
    expect(await takeAt(backMs, rule, [4, 3])).toMatchObject({ answers: "-+", used: 10 });
  });
});

test("a clock that jumps ahead expires earlier takes, as if the time had passed", async () => {
  await takeAt(START_MS, rule, [10]);
  expect(await takeAt(START_MS + 3_600_000, rule, [10])).toMatchObject({ answers: "+", used: 10 });
});
