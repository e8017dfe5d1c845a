// Tests when acks leave, by a stepped clock.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { AckCoalescer } from "./ack-coalescer.js";

const DELAY_MS = 5;
const LINGER_MS = 300;

let handled: number;
let settled: number[];
let sent: (readonly [atMs: number, upTo: number])[];
let isHidden: boolean;
let lingerMs: number;
let acks: AckCoalescer;
let startMs: number;

beforeEach(() => {
  vi.useFakeTimers();
  handled = 0;
  settled = [];
  sent = [];
  isHidden = false;
  lingerMs = LINGER_MS;
  startMs = performance.now();
  acks = new AckCoalescer({
    delayMs: DELAY_MS,
    lingerMs: () => lingerMs,
    settle: () => settled.push(handled),
    send: () => {
      const isDue = handled > (sent.at(-1)?.[1] ?? 0);
      if (isDue) sent.push([performance.now() - startMs, handled]);
      return isDue;
    },
    timersThrottled: () => isHidden,
  });
});
afterEach(() => vi.useRealTimers());

function handle(): void {
  handled++;
  acks.request();
}

it("the first ack leaves soon, later ones gather, and after a quiet time the next leaves soon again", () => {
  handle();
  vi.advanceTimersByTime(10);
  for (let i = 0; i < 20; i++) {
    handle();
    vi.advanceTimersByTime(10);
  }
  vi.advanceTimersByTime(1_000);
  handle();
  vi.advanceTimersByTime(10);
  expect(sent).toEqual([
    [5, 1],
    [305, 21],
    [1_215, 22],
  ]);
});

it("under a steady stream one ack leaves every 300 ms, and none waits longer", () => {
  for (let i = 0; i < 3_000; i++) {
    handle();
    vi.advanceTimersByTime(1);
  }
  expect(sent.map(([atMs]) => atMs)).toEqual([5, 305, 605, 905, 1_205, 1_505, 1_805, 2_105, 2_405, 2_705]);
});

it("reports the position without waiting, and before each ack", () => {
  handle();
  vi.advanceTimersByTime(10);
  handle();
  vi.advanceTimersByTime(10);
  expect(settled.at(-1)).toBe(2);
  expect(sent).toEqual([[5, 1]]);
  // Handled, and not reported yet, when the ack of the one before leaves.
  vi.advanceTimersByTime(284);
  handle();
  vi.advanceTimersByTime(1);
  expect(sent.at(-1)).toEqual([305, 3]);
  expect(settled.at(-1)).toBe(3);
});

it("a flush sends what waits, once, and counts as an ack", () => {
  handle();
  vi.advanceTimersByTime(10);
  handle();
  acks.flushNow();
  handle();
  vi.advanceTimersByTime(1_000);
  expect(sent).toEqual([
    [5, 1],
    [10, 2],
    [310, 3],
  ]);
});

it("no ack waits if the server allows no time, or in a hidden page", async () => {
  lingerMs = 0;
  handle();
  vi.advanceTimersByTime(10);
  handle();
  vi.advanceTimersByTime(10);
  lingerMs = LINGER_MS;
  isHidden = true;
  handle();
  handle();
  await Promise.resolve();
  expect(sent).toEqual([
    [5, 1],
    [15, 2],
    [20, 4],
  ]);
});

it("a flush without acks does not delay the next one", () => {
  acks.request();
  vi.advanceTimersByTime(10);
  handle();
  vi.advanceTimersByTime(10);
  expect(sent).toEqual([[15, 1]]);
});
