// Tests when a subscriber acknowledges.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { LateAcks } from "./late-acks.js";

let sent: number[];
beforeEach(() => {
  sent = [];
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

test("sends the first ack at once and later ones together after the delay", () => {
  const acks = new LateAcks(300, (seq) => sent.push(seq), Date.now);
  acks.heard(1);
  acks.heard(2);
  vi.advanceTimersByTime(1);
  expect(sent).toEqual([2]);
  for (const seq of [3, 4, 5]) acks.heard(seq);
  vi.advanceTimersByTime(290);
  expect(sent).toEqual([2]);
  vi.advanceTimersByTime(10);
  expect(sent).toEqual([2, 5]);
  vi.advanceTimersByTime(400);
  acks.heard(6);
  vi.advanceTimersByTime(1);
  expect(sent).toEqual([2, 5, 6]);
});

test("without a delay it acks once a turn; once stopped, it sends nothing", () => {
  const acks = new LateAcks(0, (seq) => sent.push(seq), Date.now);
  acks.heard(1);
  acks.heard(2);
  vi.advanceTimersByTime(1);
  acks.heard(3);
  vi.advanceTimersByTime(1);
  expect(sent).toEqual([2, 3]);
  acks.heard(4);
  acks.stop();
  vi.advanceTimersByTime(1_000);
  expect(sent).toEqual([2, 3]);
});
