// Tests the deadline of an answer, which follows how long former answers took.
import { expect, test } from "vitest";
import { AnswerTimes } from "./answer-times.js";

test("waits for a quick Redis as long as the floor, for a slow one three times its usual time", () => {
  const times = new AnswerTimes({ floorMs: 250 });
  expect(times.deadlineMs).toBe(250);
  times.note(20, 0);
  expect(times.deadlineMs).toBe(250);
  times.note(300, 10);
  times.note(40, 20);
  expect(times.deadlineMs).toBe(900);
});

test("never waits longer than the ceiling, which is not below the floor", () => {
  const times = new AnswerTimes({ floorMs: 250 });
  times.note(5_000, 0);
  expect(times.deadlineMs).toBe(2_000);
  expect(new AnswerTimes({ floorMs: 3_000 }).deadlineMs).toBe(3_000);
});

test("forgets slow answers once quicker ones have come for a while, and not before", () => {
  const times = new AnswerTimes({ floorMs: 250 });
  times.note(400, 0);
  times.note(10, 9_999);
  expect(times.deadlineMs).toBe(1_200);
  times.note(10, 10_000);
  expect(times.deadlineMs).toBe(1_200);
  times.note(10, 20_000);
  expect(times.deadlineMs).toBe(250);
  // Nobody has asked for an hour: what is known is still the best guess.
  times.note(400, 20_001);
  expect(times.deadlineMs).toBe(1_200);
});

test("one slow answer among many does not count as usual; continued ones do", () => {
  const times = new AnswerTimes({ floorMs: 250 });
  expect(times.usualMs).toBe(0);
  for (let i = 0; i < 50; i++) times.note(2, i);
  times.note(400, 50);
  expect(times.usualMs).toBeLessThan(60);
  for (let i = 0; i < 50; i++) times.note(400, 51 + i);
  expect(times.usualMs).toBeGreaterThan(390);
});
