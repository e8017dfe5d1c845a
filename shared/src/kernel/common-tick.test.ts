// Rounds of about a second that begin at any time end at the same moments.
import { assert, double, integer, property } from "fast-check";
import { expect, it } from "vitest";
import { untilCommonTick } from "./common-tick.js";

it("rounds that begin within a quarter of a second of each other end together", () => {
  const ends = [10_000.5, 10_090, 10_249.9].map((nowMs) => nowMs + untilCommonTick(1_000, nowMs));
  for (const end of ends) expect(end).toBeCloseTo(11_000, 6);
});

it("never later than asked, and at most a quarter of a second earlier", () => {
  assert(
    property(double({ min: 0, max: 1e9, noNaN: true }), integer({ min: 0, max: 1e6 }), (nowMs, ms) => {
      const waitMs = untilCommonTick(ms, nowMs);
      expect(waitMs).toBeLessThanOrEqual(ms + 1e-6);
      expect(waitMs).toBeGreaterThan(ms - 250 - 1e-6);
      if (ms < 1_000) expect(waitMs).toBe(ms);
    }),
  );
});
