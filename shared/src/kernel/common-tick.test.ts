// Rounds of about a second that begin at any time end at the same moments.
import { assert, double, integer, property } from "fast-check";
import { expect, it } from "vitest";
import { untilCommonTick } from "./common-tick.js";

it("rounds that start within a second of each other end together", () => {
  const ends = [10_000.5, 10_090, 10_999.9].map((nowMs) => nowMs + untilCommonTick(1_000, nowMs));
  for (const end of ends) expect(end).toBeCloseTo(11_000, 6);
});

it("is never later than asked, and at most a second earlier", () => {
  assert(
    property(double({ min: 0, max: 1e9, noNaN: true }), integer({ min: 0, max: 1e6 }), (nowMs, ms) => {
      const waitMs = untilCommonTick(ms, nowMs);
      expect(waitMs).toBeLessThanOrEqual(ms + 1e-6);
      expect(waitMs).toBeGreaterThan(ms - 1_000 - 1e-6);
      expect(waitMs).toBeGreaterThan(ms === 0 ? -1 : 0);
      if (ms < 900) expect(waitMs).toBe(ms);
    }),
  );
});

it("a round that counts its second from the end of its work keeps the tick", () => {
  const [workMs, lateMs] = [5, 3];
  let nowMs = 11_000;
  for (let round = 12; round < 16; round++) {
    const nextMs = nowMs + workMs + 1_000;
    nowMs += workMs + lateMs;
    nowMs += untilCommonTick(nextMs - nowMs, nowMs);
    expect(nowMs).toBe(round * 1_000);
  }
});
