// Tests the limiter in front of Redis: what it asks, what it knows by itself, and what it does when nothing answers.
// Guarantees: several processes together never admit more than the limit in any window, prepaid or not.
import * as fc from "fast-check";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { SteppedScripts } from "../../testing/redis/stepped-scripts.js";
import { LimitCounts } from "./limit-counts.js";
import {
  type LimitDecision,
  SlidingWindowLimiter,
  type SlidingWindowLimiterOptions,
} from "./sliding-window-limiter.js";
import { waitFor } from "../../testing/wait-for.js";

let store: OpenStore;
let scripts: SteppedScripts;
let nowMs: number;
beforeAll(async () => {
  store = await openStore();
});
beforeEach(async () => {
  await store.clear();
  scripts = new SteppedScripts(store.redis);
  await moveTo(1_800_000_000_000);
});
afterAll(() => store.close());

async function moveTo(ms: number): Promise<void> {
  nowMs = ms;
  await scripts.setNow(ms);
}
const advance = (ms: number): Promise<void> => moveTo(nowMs + ms);
// Here Redis' clock and the process' move together, each from a start of its own.
const clock = { wallMs: () => 0, monotonicMs: () => nowMs - 1_799_999_000_000 };

function limiter(options: Partial<SlidingWindowLimiterOptions> = {}): SlidingWindowLimiter {
  return new SlidingWindowLimiter({
    scripts,
    name: "test",
    limit: 10,
    windowMs: 10_000,
    deadlineMs: 10_000,
    clock,
    ...options,
  });
}

const isAllowed = async (decision: LimitDecision | Promise<LimitDecision>): Promise<boolean> =>
  (await decision).allowed;

test("admits what the limit allows, and says what is left and when it returns", async () => {
  const one = limiter();
  expect(await one.take("k", 4)).toEqual({ allowed: true, limit: 10, remaining: 6, resetMs: 10_250 });
  expect(await one.take("k", 6)).toEqual({ allowed: true, limit: 10, remaining: 0, resetMs: 10_250 });
  await advance(3_000);
  expect(await one.take("k")).toEqual({ allowed: false, limit: 10, remaining: 0, retryAfterMs: 7_250 });
  expect(await isAllowed(one.take("another"))).toBe(true);
});

test("the time it names is when the same amount is granted", async () => {
  const one = limiter();
  await one.take("k", 3);
  await advance(1_000);
  await one.take("k", 7);
  expect(await one.take("k", 4)).toMatchObject({ allowed: false, retryAfterMs: 10_250 });
  expect(await one.take("k", 3)).toMatchObject({ allowed: false, retryAfterMs: 9_250 });
  await advance(9_249);
  expect(await isAllowed(one.take("k", 3))).toBe(false);
  await advance(1);
  expect(await isAllowed(one.take("k", 4))).toBe(false);
  expect(await isAllowed(one.take("k", 3))).toBe(true);
});

test("0 is no limit; neither that nor a take above the limit asks Redis", async () => {
  const one = limiter();
  expect(one.take("k", 1_000, 0)).toMatchObject({ allowed: true, limit: 0 });
  expect(one.take("k", 11)).toEqual({ allowed: false, limit: 10, remaining: 0, retryAfterMs: Infinity });
  expect(scripts.calls).toBe(0);
});

test("a key's own limit replaces the limiter's", async () => {
  const one = limiter();
  expect(await isAllowed(one.take("k", 50, 100))).toBe(true);
  expect(await isAllowed(one.take("k", 51, 100))).toBe(false);
  expect(await isAllowed(one.take("k", 50, 100))).toBe(true);
});

test("a refused take uses nothing: a smaller one after it passes", async () => {
  const one = limiter();
  const [six, seven, four] = await Promise.all([one.take("k", 6), one.take("k", 7), one.take("k", 4)]);
  expect([six.allowed, seven.allowed, four.allowed]).toEqual([true, false, true]);
});

test("takes of one turn share a call per key", async () => {
  const one = limiter({ limit: 1_000 });
  await Promise.all(Array.from({ length: 300 }, async (_, i) => one.take(i % 2 === 0 ? "even" : "odd")));
  expect(scripts.calls).toBe(2);
});

test("a refused flood costs no call until it may be granted again", async () => {
  const counts = new LimitCounts();
  const one = limiter({ counts });
  await one.take("k", 10);
  await one.take("k");
  const before = scripts.calls;
  for (let i = 0; i < 10_000; i++) {
    const decision = one.take("k", 1 + (i % 9));
    expect(decision).not.toBeInstanceOf(Promise);
    expect(decision).toMatchObject({ allowed: false });
  }
  expect(scripts.calls).toBe(before);
  expect(counts.of("test")).toEqual({ refusals: 10_001, local_refusals: 10_000, asks: 2, unanswered: 0 });
  expect(one.refusal("k")).toMatchObject({ allowed: false });
  await advance(10_250);
  expect(one.refusal("k")).toBeUndefined();
  expect(await isAllowed(one.take("k", 10))).toBe(true);
});

test("a busy key asks once per share, and nobody waits for what was taken ahead", async () => {
  const one = limiter({ limit: 100_000, prepaid: 0.01 });
  let waited = 0;
  for (let i = 0; i < 4_000; i++) {
    if (i % 4 === 0) await advance(1);
    const decision = one.take("k");
    if (decision instanceof Promise) waited++;
    expect(await isAllowed(decision)).toBe(true);
    // The background call is answered while others come.
    if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  // The first sub-window is asked for one by one; from then on 4,000 a second need about 8 calls.
  expect(waited).toBeLessThan(1_100);
  expect(scripts.calls).toBeLessThan(1_150);
});

test("a larger take can use what is taken ahead", async () => {
  const one = limiter({ limit: 2_000, prepaid: 0.01 });
  let granted = 0;
  // Eight tenths of the limit.
  for (let i = 0; i < 500; i++) {
    await advance(94);
    if (await isAllowed(one.take("k", 15))) granted++;
  }
  expect(granted).toBe(500);
});

test("takes nothing ahead for a key that takes much, but rarely", async () => {
  const one = limiter({ limit: 2_000, prepaid: 0.01 });
  for (let i = 0; i < 200; i++) {
    await advance(250);
    expect(await isAllowed(one.take("k", 45))).toBe(true);
  }
});

test("what is taken ahead and not used in time is lost", async () => {
  const one = limiter({ limit: 16, windowMs: 2_000, prepaid: 0.5 });
  for (let i = 0; i < 10; i++) await one.take("k");
  await advance(50);
  await one.take("k");
  await advance(49);
  expect(one.take("k")).toMatchObject({ allowed: true });
  await advance(1);
  expect(await isAllowed(one.take("k"))).toBe(false);
});

test("what is taken ahead and used at the last moment counts until that has left the window, too", async () => {
  const [one = limiter(), other = limiter()] = [0, 1].map(() =>
    limiter({ limit: 100, windowMs: 2_000, prepaid: 0.5 }),
  );
  for (let i = 0; i < 10; i++) await one.take("k");
  await advance(99);
  await one.take("k");
  const ahead = 100 - 11 - 84;
  expect(await isAllowed(other.take("k", 84))).toBe(true);
  await advance(49);
  expect(one.take("k", ahead)).toMatchObject({ allowed: true });
  await advance(2_000 - 48);
  // 5 were given out less than a window ago.
  expect(await isAllowed(limiter({ limit: 100, windowMs: 2_000, prepaid: 0.5 }).take("k", 96))).toBe(false);
  await advance(50);
  expect(await isAllowed(limiter({ limit: 100, windowMs: 2_000, prepaid: 0.5 }).take("k", 100))).toBe(true);
});

test("remembers a bounded number of keys", async () => {
  const one = limiter({ maxKeys: 10 });
  for (let i = 0; i < 50; i++) await one.take(`k${i}`, 10);
  expect(await isAllowed(one.take("k0"))).toBe(false);
});

describe("several processes, under random arrivals", () => {
  const arrivals = fc.array(
    fc.record({
      gapMs: fc.oneof(
        { weight: 3, arbitrary: fc.constant(0) },
        { weight: 6, arbitrary: fc.integer({ min: 1, max: 60 }) },
        { weight: 1, arbitrary: fc.integer({ min: 0, max: 3_000 }) },
      ),
      process: fc.nat({ max: 2 }),
      count: fc.oneof(
        { weight: 5, arbitrary: fc.constant(1) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 30 }) },
      ),
    }),
    { minLength: 100, maxLength: 300, size: "max" },
  );

  test.each([
    { prepaid: 0, limit: 60, pace: 1, name: "asked for one by one" },
    { prepaid: 0.1, limit: 400, pace: 8, name: "a tenth taken ahead" },
  ])(
    "$name: never more than the limit in any window",
    async ({ prepaid, limit, pace }) => {
      const windowMs = 2_000;
      let run = 0;
      let refused = 0;
      let ahead = 0;
      await fc.assert(
        fc.asyncProperty(arrivals, async (all) => {
          const key = `k${run++}`;
          const processes = [0, 1, 2].map(() => limiter({ limit, windowMs, prepaid }));
          const taken: { atMs: number; count: number }[] = [];
          const waiting: Promise<void>[] = [];
          const sumSince = (sinceMs: number): number =>
            taken.reduce((sum, { atMs, count }) => (atMs > sinceMs ? sum + count : sum), 0);
          for (const { gapMs, process, count } of all) {
            // Calls under way are answered before time goes on: a take counts when it is answered.
            if (gapMs > 0) await Promise.all(waiting.splice(0));
            await advance(Math.ceil(gapMs / pace));
            const decision = processes[process]?.take(key, count) ?? expect.fail();
            if (!(decision instanceof Promise)) ahead += decision.allowed ? 1 : 0;
            const done = Promise.resolve(decision).then(({ allowed }) => {
              if (allowed) {
                taken.push({ atMs: nowMs, count });
                expect(sumSince(nowMs - windowMs)).toBeLessThanOrEqual(limit);
              } else {
                refused++;
                if (prepaid === 0) expect(sumSince(nowMs - windowMs - 50) + count).toBeGreaterThan(limit);
              }
            });
            waiting.push(done);
          }
          await Promise.all(waiting);
        }),
        { numRuns: sized(12, 6), endOnFailure: true },
      );
      expect(refused).toBeGreaterThan(10);
      if (prepaid > 0) expect(ahead).toBeGreaterThan(sized(50, 25));
    },
    60_000,
  );
});

describe("if Redis does not answer", () => {
  class Silent extends SteppedScripts {
    isSilent = false;
    override run(...how: Parameters<SteppedScripts["run"]>): Promise<string> {
      if (!this.isSilent) return super.run(...how);
      this.calls++;
      return new Promise(() => undefined);
    }
  }

  test("this process uses its own count, at once after the first time, says so once, and asks again later", async () => {
    const silent = new Silent(store.redis);
    const said: string[] = [];
    const logger = {
      warn: (_: unknown, text: string) => void said.push(`warn ${text}`),
      info: (_: unknown, text: string) => void said.push(`info ${text}`),
    } as unknown as NonNullable<SlidingWindowLimiterOptions["logger"]>;
    const counts = new LimitCounts();
    const one = limiter({ scripts: silent, logger, counts, deadlineMs: 500 });
    silent.isSilent = true;
    expect(await isAllowed(one.take("k", 6))).toBe(true);
    const calls = silent.calls;
    expect(one.take("k", 4)).toMatchObject({ allowed: true, remaining: 0 });
    expect(one.take("k", 1)).toMatchObject({ allowed: false, retryAfterMs: 10_250 });
    expect(silent.calls).toBe(calls);
    await advance(1_000);
    // A call tries whether Redis answers, and nobody waits for it.
    expect(one.take("k")).toMatchObject({ allowed: false });
    expect(one.take("k")).toMatchObject({ allowed: false });
    await waitFor(() => counts.of("test").unanswered === 2, { what: "the trial" });
    expect(silent.calls).toBe(calls + 1);
    silent.isSilent = false;
    await advance(1_000);
    expect(one.take("k")).toMatchObject({ allowed: false });
    await waitFor(() => said.length === 2, { what: "an answer" });
    expect(said.map((line) => line.split(" ")[0])).toEqual(["warn", "info"]);
    expect(counts.of("test").unanswered).toBe(2);
    // Redis was told of what was admitted without it.
    expect(await isAllowed(limiter().take("k"))).toBe(false);
    await advance(10_250);
    expect(await isAllowed(one.take("k", 10))).toBe(true);
  });

  test("a cluster's master that does not answer delays only its own keys", async () => {
    const silent = new Silent(store.redis);
    const away = {
      run: (...how: Parameters<SteppedScripts["run"]>) =>
        how[1][0]?.endsWith("away") === true ? new Promise<string>(() => undefined) : silent.run(...how),
      together: <T>(task: () => T): T => task(),
      serverOf: (key: string) => (key.endsWith("away") ? "10.0.0.1:6379" : "10.0.0.2:6379"),
    };
    const counts = new LimitCounts();
    const one = limiter({ scripts: away, counts, deadlineMs: 20 });
    // As many calls as may be under way at once, and more, each in a turn of its own.
    const waiting: Promise<boolean>[] = [];
    for (let i = 0; i < 6; i++) {
      waiting.push(isAllowed(one.take(`${i} away`)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const there = one.take("there", 10);
    expect(await isAllowed(there)).toBe(true);
    expect(await Promise.all(waiting)).toEqual([true, true, true, true, true, true]);
    expect(one.take("0 away")).not.toBeInstanceOf(Promise);
    // Redis says so, and not this process.
    expect(await isAllowed(limiter({ scripts: away }).take("there"))).toBe(false);
    expect(one.take("elsewhere")).toBeInstanceOf(Promise);
    expect(silent.calls).toBeGreaterThan(1);
  });

  test("a script that fails is no answer either", async () => {
    const failing = {
      run: () => Promise.reject(new Error("OOM command not allowed")),
      together: <T>(task: () => T): T => task(),
    };
    const one = limiter({ scripts: failing });
    expect(await isAllowed(one.take("k", 10))).toBe(true);
    expect(await isAllowed(one.take("k"))).toBe(false);
  });

  test("an answer that comes too late grants nothing", async () => {
    const slow = {
      run: async (...how: Parameters<SteppedScripts["run"]>) => {
        await sleep(60);
        return scripts.run(...how);
      },
      together: <T>(task: () => T): T => task(),
    };
    const one = limiter({ scripts: slow, deadlineMs: 10 });
    expect(await isAllowed(one.take("k", 10))).toBe(true);
    await sleep(100);
    expect(await isAllowed(one.take("k"))).toBe(false);
  });
});
