// Tests the backoff of restarts.
// Guarantees: 0.25 s doubling to 10 s; a life of 5 s starts over.
import { expect, test } from "vitest";
import { nextRestart } from "./restart-delay.js";

test("doubles up to ten seconds", () => {
  const delays: number[] = [];
  let deathsInARow = 0;
  for (let i = 0; i < 8; i++) {
    const next = nextRestart(deathsInARow, 100);
    delays.push(next.delayMs);
    deathsInARow = next.deathsInARow;
  }
  expect(delays).toEqual([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
});

test("starts over after five seconds alive", () => {
  expect(nextRestart(6, 4_999).delayMs).toBe(10_000);
  expect(nextRestart(6, 5_000)).toEqual({ delayMs: 250, deathsInARow: 1 });
});
