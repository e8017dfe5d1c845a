// Tests both limiters while Redis is slow, suddenly turns slow, or loses calls and answers, in a time that stands still
// while anything runs.
// Guarantees: a Redis that is always slow admits no more than a quick one; whatever was admitted without Redis is
// counted there once it answers again.
import * as fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { type Journey, SteppedTime } from "../../testing/redis/latent-scripts.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { clusterKeys } from "../keys.js";
import { LimitCounts } from "./limit-counts.js";
import { ReportedWindowLimiter } from "./reported-window-limiter.js";
import {
  type LimitDecision,
  SlidingWindowLimiter,
  type SlidingWindowLimiterOptions,
} from "./sliding-window-limiter.js";

const WINDOW_MS = 2_000;
const LIMIT = 60;
const STEP_MS = 25;
const MAX_ONE_WAY_MS = 700;

let store: OpenStore;
let time: SteppedTime;
let nextKey = 0;
beforeAll(async () => {
  store = await openStore();
});
beforeEach(async () => {
  await store.clear();
  // Deadlines run in the test's time; Redis' own answers need no timer.
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  time = new SteppedTime(store.redis, 1_800_000_000_000);
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(() => store.close());

const advance = (ms: number): Promise<void> => time.advance(ms, (by) => vi.advanceTimersByTime(by));
const clock = { wallMs: () => 0, monotonicMs: () => time.nowMs - 1_799_999_000_000 };

interface Grant {
  /** When Redis granted it; or when this process gave it out, where it had been taken ahead. */
  readonly atMs: number;
  readonly count: number;
}

/** A process with a link of its own, and all that it was granted. */
class Taker {
  readonly limiter: SlidingWindowLimiter;
  readonly #grants: Grant[];
  readonly #backMs: number;
  waiting = 0;

  /** @param backMs how long answers take to come back, where that is always the same */
  constructor(
    journey: () => Journey,
    grants: Grant[],
    { backMs = 0, ...options }: Partial<SlidingWindowLimiterOptions> & { readonly backMs?: number } = {},
  ) {
    this.#backMs = backMs;
    this.#grants = grants;
    this.limiter = new SlidingWindowLimiter({
      scripts: time.link(journey),
      name: "test",
      limit: LIMIT,
      windowMs: WINDOW_MS,
      clock,
      ...options,
    });
  }

  take(key: string, count: number): LimitDecision | Promise<LimitDecision> {
    const decision = this.limiter.take(key, count);
    if (!(decision instanceof Promise)) {
      if (decision.allowed) this.#grants.push({ atMs: time.nowMs, count });
      return decision;
    }
    this.waiting++;
    void decision.then(({ allowed }) => {
      this.waiting--;
      if (allowed) this.#grants.push({ atMs: time.nowMs - this.#backMs, count });
    });
    return decision;
  }
}

function fullestWindow(grants: readonly Grant[]): number {
  return Math.max(
    0,
    ...grants.map(({ atMs: untilMs }) =>
      grants.reduce(
        (sum, { atMs, count }) => (atMs <= untilMs && atMs > untilMs - WINDOW_MS ? sum + count : sum),
        0,
      ),
    ),
  );
}

/** What Redis counts in the window that ends now, in whole sub-windows. */
async function countedByRedis(key: string): Promise<number> {
  const text = (await store.redis.get(clusterKeys.limitWindow("test", WINDOW_MS, key))) ?? "";
  const oldest = Math.floor(time.nowMs / (WINDOW_MS / 40)) - 40;
  return text
    .split(" ")
    .map((share) => share.split(":").map(Number))
    .reduce((sum, [index = 0, count = 0]) => (index >= oldest ? sum + count : sum), 0);
}

const gaps = fc.array(
  fc.record({
    steps: fc.integer({ min: 0, max: 6 }),
    process: fc.nat({ max: 2 }),
    count: fc.integer({ min: 1, max: 9 }),
  }),
  { minLength: 60, maxLength: 120, size: "max" },
);

describe("a Redis that is slow all the time", () => {
  test.each([
    { oneWayMs: 50, prepaid: 0 },
    { oneWayMs: 150, prepaid: 0 },
    { oneWayMs: 300, prepaid: 0 },
    { oneWayMs: 300, prepaid: 0.1 },
    { oneWayMs: 500, prepaid: 0 },
  ])(
    "$oneWayMs ms each way, $prepaid taken ahead: three processes take exactly the limit",
    async ({ oneWayMs, prepaid }) => {
      const journey = (): Journey => ({ toMs: oneWayMs, backMs: oneWayMs });
      await fc.assert(
        fc.asyncProperty(gaps, async (all) => {
          const key = `k${nextKey++}`;
          const grants: Grant[] = [];
          const counts = new LimitCounts();
          const takers = [0, 1, 2].map(
            () => new Taker(journey, grants, { prepaid, counts, backMs: oneWayMs }),
          );
          // The first answer is late: it tells how slow Redis is.
          for (const taker of takers) void taker.take(`${key}-before`, 1);
          for (let at = 0; at < 4 * oneWayMs + 100; at += STEP_MS) await advance(STEP_MS);
          grants.splice(0);
          const unanswered = counts.of("test").unanswered;
          for (const { steps, process, count } of all) {
            void takers[process]?.take(key, count);
            for (let step = 0; step < steps; step++) await advance(STEP_MS);
          }
          while (takers.some(({ waiting }) => waiting > 0)) await advance(STEP_MS);
          expect(fullestWindow(grants)).toBeLessThanOrEqual(LIMIT);
          expect(fullestWindow(grants)).toBeGreaterThan(LIMIT / 2);
          expect(counts.of("test").unanswered).toBe(unanswered);
        }),
        { numRuns: sized(4, 2), endOnFailure: true },
      );
    },
  );

  test("more takes than fit in a call go in further calls, and wait for at most two answers", async () => {
    const counts = new LimitCounts();
    const grants: Grant[] = [];
    const taker = new Taker(() => ({ toMs: 100, backMs: 100 }), grants, { limit: 1e6, counts });
    for (let i = 0; i < 3_000; i++) void taker.take("k", 1);
    for (let i = 0; i < 3_000; i++) void taker.take("k", 1);
    await advance(0);
    for (let at = 0; at < 400; at += STEP_MS) await advance(STEP_MS);
    expect(grants).toHaveLength(6_000);
    expect(counts.of("test").asks).toBe(12);
  });
});

describe("whatever the latency, and whatever is lost", () => {
  const journeys = fc.array(
    fc.oneof(
      { weight: 6, arbitrary: fc.record({ toMs: fc.nat({ max: 40 }), backMs: fc.nat({ max: 40 }) }) },
      {
        weight: 3,
        arbitrary: fc.record({
          toMs: fc.nat({ max: MAX_ONE_WAY_MS }),
          backMs: fc.nat({ max: MAX_ONE_WAY_MS }),
        }),
      },
      { weight: 1, arbitrary: fc.constant({ toMs: 10, backMs: Number.POSITIVE_INFINITY }) },
      { weight: 1, arbitrary: fc.constant({ toMs: Number.POSITIVE_INFINITY, backMs: 0 }) },
    ),
    { minLength: 5, maxLength: 40 },
  );

  test("counts a call without latency at the moment it is made", async () => {
    const taker = new Taker(() => ({ toMs: 0, backMs: 0 }), []);
    for (let calls = 0; calls < 2; calls++) {
      await advance(10 * WINDOW_MS);
      void taker.take("k", 5);
      await advance(0);
      expect(await countedByRedis("k")).toBe(5);
    }
  });

  test("counts in Redis what was admitted without it, once it answers again, and loses no part of it", async () => {
    let unanswered = 0;
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(gaps, journeys, async (all, travelled) => {
        const key = `k${nextKey++}`;
        let made = 0;
        let isHealed = false;
        const journey = (): Journey => {
          const one = isHealed ? undefined : travelled[made++ % travelled.length];
          return one ?? { toMs: 1, backMs: 1 };
        };
        const counts = new LimitCounts();
        const grantsOf = [0, 1, 2].map((): Grant[] => []);
        const takers = grantsOf.map((grants) => new Taker(journey, grants, { counts }));
        for (const { steps, process, count } of all) {
          void takers[process]?.take(key, count);
          for (let step = 0; step < steps; step++) await advance(STEP_MS);
        }
        for (const grants of grantsOf) expect(fullestWindow(grants)).toBeLessThanOrEqual(2 * LIMIT);
        expect(fullestWindow(grantsOf.flat())).toBeLessThanOrEqual(4 * LIMIT);
        unanswered += counts.of("test").unanswered;

        isHealed = true;
        const told = new Set<Taker>();
        for (let tries = 0; tries < 200 && told.size < takers.length; tries++) {
          for (const taker of takers) {
            if (told.has(taker)) continue;
            const decision = taker.take(key, 1);
            if (!(decision instanceof Promise)) continue;
            void decision.then(() => {
              // It was asked about, and not decided here.
              if (taker.limiter.take(`${key}-${tries}`) instanceof Promise) told.add(taker);
            });
          }
          await advance(STEP_MS);
        }
        expect(told.size).toBe(takers.length);
        // What Redis granted was granted before its answer came.
        const sinceMs = time.nowMs - WINDOW_MS + MAX_ONE_WAY_MS;
        const admitted = grantsOf
          .flat()
          .reduce((sum, { atMs, count }) => (atMs > sinceMs ? sum + count : sum), 0);
        compared += admitted;
        expect(await countedByRedis(key)).toBeGreaterThanOrEqual(admitted);
      }),
      { numRuns: sized(25, 12), endOnFailure: true },
    );
    expect(unanswered).toBeGreaterThan(10);
    expect(compared).toBeGreaterThan(10);
  });

  test("without Redis each process admits its former share of the limit: together not several times as much", async () => {
    let isAway = false;
    const journey = (): Journey => ({ toMs: isAway ? Number.POSITIVE_INFINITY : 5, backMs: 5 });
    const grants: Grant[] = [];
    const counts = new LimitCounts();
    const takers = [0, 1, 2].map(() => new Taker(journey, grants, { limit: 300, counts }));
    const flood = async (forMs: number): Promise<void> => {
      for (let at = 0; at < forMs; at += STEP_MS) {
        for (const taker of takers) for (let n = 0; n < 3; n++) void taker.take("k", 1);
        await advance(STEP_MS);
      }
    };
    await flood(6_000);
    const before = fullestWindow(grants);
    expect(before).toBeGreaterThan(200);
    isAway = true;
    const awayFromMs = time.nowMs;
    await flood(6_000);
    expect(counts.of("test").unanswered).toBeGreaterThan(3);
    const away = grants.filter(({ atMs }) => atMs > awayFromMs);
    // A third for each, rounded up, and give or take whom Redis happened to grant more; each has some.
    expect(fullestWindow(away)).toBeLessThanOrEqual(300 * 1.3);
    expect(fullestWindow(away)).toBeGreaterThan(300 * 0.7);
    // What Redis had given before it went away counts too.
    expect(fullestWindow(grants)).toBeLessThanOrEqual(300 * 1.3);
    isAway = false;
    await flood(4_000);
    const backFromMs = time.nowMs;
    await flood(4_000);
    expect(fullestWindow(grants.filter(({ atMs }) => atMs > backFromMs))).toBeLessThanOrEqual(300);
    // Only those who noticed the outage waited; it lasted beyond the trial, and nobody waited for that.
    expect(takers.map(({ waiting }) => waiting)).toEqual([0, 0, 0]);
  });

  test("counts a call that was given up and answered late once: neither lost nor twice", async () => {
    let toMs = 1;
    const grants: Grant[] = [];
    const taker = new Taker(() => ({ toMs, backMs: 1 }), grants);
    void taker.take("k", 10);
    await advance(STEP_MS);
    toMs = 600;
    void taker.take("k", 20);
    for (let at = 0; at < 300; at += STEP_MS) await advance(STEP_MS);
    // Decided here by now; Redis has not heard of it.
    expect(grants).toHaveLength(2);
    for (let at = 0; at < 400; at += STEP_MS) await advance(STEP_MS);
    expect(await countedByRedis("k")).toBe(30);
    toMs = 1;
    void taker.take("k", 30);
    for (let step = 0; step < 4; step++) await advance(STEP_MS);
    expect(await countedByRedis("k")).toBe(60);
    expect(grants).toHaveLength(3);
  });
});

describe("frames, reported afterwards", () => {
  const FRAMES = 200;

  function frameLimiters(journey: () => Journey, processes: number): ReportedWindowLimiter[] {
    return Array.from(
      { length: processes },
      () =>
        new ReportedWindowLimiter({
          scripts: time.link(journey),
          name: "frames",
          limit: FRAMES,
          windowMs: WINDOW_MS,
          clock,
        }),
    );
  }

  test.each([{ oneWayMs: 25 }, { oneWayMs: 100 }, { oneWayMs: 300 }, { oneWayMs: 500 }])(
    "$oneWayMs ms each way: a flood at four nodes passes once, then each node lets its part through",
    async ({ oneWayMs }) => {
      await fc.assert(
        fc.asyncProperty(
          // What each node asks for in a window, as a part of the limit.
          fc.array(fc.double({ min: 0.5, max: 2, noNaN: true }), { minLength: 4, maxLength: 4 }),
          async (rates) => {
            const limiters = frameLimiters(() => ({ toMs: oneWayMs, backMs: oneWayMs }), 4);
            const key = `k${nextKey++}`;
            const taken: Grant[] = [];
            const offered = rates.map(() => 0);
            const fromMs = time.nowMs;
            while (time.nowMs < fromMs + 10 * WINDOW_MS) {
              for (const [i, rate] of rates.entries()) {
                const due = (rate * FRAMES * (time.nowMs - fromMs)) / WINDOW_MS;
                for (; (offered[i] ?? 0) < due; offered[i] = (offered[i] ?? 0) + 1)
                  if (limiters[i]?.take(key) === 0) taken.push({ atMs: time.nowMs, count: 1 });
              }
              await advance(STEP_MS);
            }
            const settledMs = fromMs + 3 * WINDOW_MS;
            expect(fullestWindow(taken)).toBeLessThanOrEqual(4 * FRAMES);
            // Each gets its part, and a tenth at least. A process learns its part late, so single windows hold more.
            const settled = taken.filter(({ atMs }) => atMs > settledMs);
            expect(fullestWindow(settled)).toBeLessThanOrEqual(FRAMES * 2);
            expect(settled.length / 7).toBeLessThanOrEqual(FRAMES * 1.4);
            expect(settled.length / 7).toBeGreaterThan(FRAMES * 0.6);
          },
        ),
        { numRuns: sized(5, 2), endOnFailure: true },
      );
    },
  );

  test("refuses nothing to a user below the limit, however slow Redis is and wherever the frames arrive", async () => {
    const limiters = frameLimiters(() => ({ toMs: 300, backMs: 300 }), 3);
    for (let at = 0; at < 10 * WINDOW_MS; at += STEP_MS) {
      // 2.5 a step, of which two are allowed; another node every second.
      const node = limiters[Math.floor(at / 1_000) % 3];
      for (let n = 0; n < 2; n++) expect(node?.take("k")).toBe(0);
      await advance(STEP_MS);
    }
  });

  test("reports again what a deaf Redis did not hear", async () => {
    let isLost = true;
    const [one, other] = frameLimiters(() => ({ toMs: isLost ? Number.POSITIVE_INFINITY : 5, backMs: 5 }), 2);
    for (let n = 0; n < 150; n++) expect(one?.take("k")).toBe(0);
    for (let at = 0; at < 1_500; at += STEP_MS) await advance(STEP_MS);
    isLost = false;
    // One more frame tells Redis of all.
    expect(one?.take("k")).toBe(0);
    await advance(STEP_MS);
    let taken = 0;
    for (let n = 0; n < FRAMES; n++) {
      if (other?.take("k") === 0) taken++;
      await advance(n % 4 === 0 ? 5 : 0);
    }
    expect(taken).toBeLessThan(FRAMES - 150 + 40);
  });
});
