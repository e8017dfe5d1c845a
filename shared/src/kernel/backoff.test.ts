// Tests the waits between retries.
// Guarantees: full jitter under a ceiling that doubles up to its cap.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs } from "./backoff.js";

test("the ceiling doubles with each attempt, up to the cap", () => {
  const almostOne = () => 1 - Number.EPSILON;
  const waits = [0, 1, 2, 3, 4, 5, 1_000].map((attempt) =>
    backoffMs(attempt, { baseMs: 100, capMs: 1_000, random: almostOne }),
  );
  expect(waits).toEqual([99, 199, 399, 799, 999, 999, 999]);
});

test("spreads from zero to the ceiling", () => {
  expect(backoffMs(3, { baseMs: 100, capMs: 1_000, random: () => 0 })).toBe(0);
  expect(backoffMs(3, { baseMs: 100, capMs: 1_000, random: () => 0.5 })).toBe(400);
});

test("is a whole number of milliseconds below the cap, for any attempt", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 10_000 }), (attempt, capMs) => {
      const wait = backoffMs(attempt, { baseMs: 10, capMs });
      expect(Number.isInteger(wait) && wait >= 0 && wait < capMs).toBe(true);
    }),
  );
});
