// Tests the waits between attempts.
// Guarantees: the bounds hold for all attempts, bases and caps.
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fullJitterMs, longJitterMs } from "./backoff.js";

const attempts = fc.integer({ min: 0, max: 5_000 });
const bounds = fc.record({
  baseMs: fc.integer({ min: 1, max: 10_000 }),
  capMs: fc.integer({ min: 1, max: 600_000 }),
});
const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

const ceiling = (attempt: number, { baseMs, capMs }: { baseMs: number; capMs: number }): number =>
  Math.min(capMs, baseMs * 2 ** attempt);

describe("backoff", () => {
  it("waits uniformly below min(cap, base * 2^attempt)", () => {
    fc.assert(
      fc.property(attempts, bounds, randoms, (attempt, limits, random) => {
        const waitMs = fullJitterMs(attempt, limits, () => random);
        expect(waitMs).toBe(Math.floor(random * ceiling(attempt, limits)));
        expect(waitMs).toBeLessThan(limits.capMs);
      }),
    );
  });

  it('waits in the upper half if the server said "too many"', () => {
    fc.assert(
      fc.property(attempts, bounds, randoms, (attempt, limits, random) => {
        const waitMs = longJitterMs(attempt, limits, () => random);
        expect(waitMs).toBeGreaterThanOrEqual(Math.floor(ceiling(attempt, limits) / 2));
        expect(waitMs).toBeLessThanOrEqual(ceiling(attempt, limits));
      }),
    );
  });

  it("spreads a crowd over the whole interval", () => {
    const waits = Array.from({ length: 400 }, () => fullJitterMs(3, { baseMs: 500, capMs: 30_000 }));
    const quarters = [0, 0, 0, 0];
    for (const waitMs of waits) quarters[Math.floor(waitMs / 1_000)]!++;
    // 100 each on average. By chance one is below 50 once in ten million runs.
    for (const count of quarters) expect(count).toBeGreaterThan(50);
  });
});
