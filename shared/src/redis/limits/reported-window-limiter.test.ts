// Tests the limiter that answers at once and tells Redis afterwards.
// Guarantees: a key that takes rarely is never asked about; processes together exceed the limit by no more than the
// documented error.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { SteppedScripts } from "../../testing/redis/stepped-scripts.js";
import { LimitCounts } from "./limit-counts.js";
import { ReportedWindowLimiter, type ReportedWindowLimiterOptions } from "./reported-window-limiter.js";

let store: OpenStore;
let scripts: SteppedScripts;
let nowMs: number;
beforeAll(async () => {
  store = await openStore();
});
beforeEach(async () => {
  await store.clear();
  scripts = new SteppedScripts(store.redis);
  nowMs = 1_800_000_000_000;
  await scripts.setNow(nowMs);
});
afterAll(() => store.close());

const clock = { wallMs: () => 0, monotonicMs: () => nowMs - 1_799_999_000_000 };

function limiter(options: Partial<ReportedWindowLimiterOptions> = {}): ReportedWindowLimiter {
  return new ReportedWindowLimiter({
    scripts,
    name: "test",
    limit: 1_000,
    windowMs: 10_000,
    askFrom: 0.1,
    deadlineMs: 10_000,
    clock,
    ...options,
  });
}

/** Lets time pass once all calls under way are answered. */
async function advance(ms: number): Promise<void> {
  for (let i = 0; i < 2; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    await store.redis.ping();
  }
  nowMs += ms;
  await scripts.setNow(nowMs);
}

test("never asks about a key that stays below half of the share in a window", async () => {
  const one = limiter();
  for (let i = 0; i < 500; i++) {
    expect(one.take("k")).toBe(0);
    await advance(201);
  }
  expect(scripts.calls).toBe(0);
});

test("a flood: admits the limit and a share for each process, then nothing, and no call for what is refused", async () => {
  const counts = new LimitCounts();
  const processes = [0, 1, 2].map(() => limiter({ counts }));
  let taken = 0;
  for (let i = 0; i < 300; i++) {
    for (const one of processes) for (let n = 0; n < 10; n++) if (one.take("k") === 0) taken++;
    await advance(10);
  }
  expect(taken).toBeGreaterThanOrEqual(1_000);
  // The documented error: each process' share, and what came while Redis was asked (10 a turn here).
  expect(taken).toBeLessThanOrEqual(1_000 + 3 * (100 + 2 * 10));
  // Half a share a call.
  expect(scripts.calls).toBeLessThanOrEqual(taken / 50 + 3);
  const waitMs = processes[0]?.take("k") ?? 0;
  expect(waitMs).toBeGreaterThan(5_000);
  await advance(waitMs);
  expect(processes[0]?.take("k")).toBe(0);
});

test("does not affect another key; 0 is no limit; a take above the limit never passes", async () => {
  const one = limiter({ limit: 10 });
  for (let i = 0; i < 30; i++) {
    one.take("loud");
    await advance(1);
  }
  expect(one.take("loud")).toBeGreaterThan(0);
  expect(one.take("quiet")).toBe(0);
  expect(one.take("other", 11)).toBe(Infinity);
  expect(limiter({ limit: 0 }).take("k", 1e9)).toBe(0);
});

test("if Redis does not answer, a process admits at most the limit and its share", async () => {
  const failing = {
    run: () => Promise.reject(new Error("no link")),
    together: <T>(task: () => T): T => task(),
  };
  const one = limiter({ scripts: failing });
  let taken = 0;
  for (let i = 0; i < 500; i++) {
    for (let n = 0; n < 10; n++) if (one.take("k") === 0) taken++;
    await advance(10);
  }
  expect(taken).toBeGreaterThanOrEqual(1_000);
  expect(taken).toBeLessThanOrEqual(1_100);
});

test("a key that stays below the limit is not refused when Redis is back, however long it was away", async () => {
  let isAway = true;
  const flaky = {
    run: (...call: Parameters<SteppedScripts["run"]>) =>
      isAway ? Promise.reject(new Error("no link")) : scripts.run(...call),
    together: <T>(task: () => T): T => task(),
  };
  const one = limiter({ scripts: flaky });
  const refusals: number[] = [];
  const takeFor = async (seconds: number): Promise<void> => {
    for (let i = 0; i < seconds * 10; i++) {
      // A fifth of the limit.
      for (let n = 0; n < 2; n++) refusals.push(one.take("k"));
      await advance(100);
    }
  };
  await takeFor(100);
  isAway = false;
  await takeFor(20);
  expect(scripts.calls).toBeGreaterThan(0);
  expect(refusals.filter((waitMs) => waitMs > 0)).toEqual([]);
});
