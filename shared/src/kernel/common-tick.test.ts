// Rounds of about a second that begin at any time end at the same moments.
import { assert, double, integer, property } from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CommonTicks, untilCommonTick } from "./common-tick.js";

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

describe("ticks", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("all that wait for a tick go on by one timer, in one turn of the event loop", async () => {
    const ticks = new CommonTicks();
    const went: string[] = [];
    for (const name of ["a", "b", "c"]) {
      // Each at another moment of the second.
      await vi.advanceTimersByTimeAsync(7);
      void ticks.pause(1_000).then(() => went.push(name));
    }
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersToNextTimer();
    await Promise.resolve();
    await Promise.resolve();
    expect(went).toEqual(["a", "b", "c"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("a later tick's wait stays, whichever was asked first, and has its timer then", async () => {
    const ticks = new CommonTicks();
    const went: number[] = [];
    for (const ms of [5_000, 1_000, 3_000]) void ticks.pause(ms).then(() => went.push(ms));
    expect(vi.getTimerCount()).toBe(1);
    for (const all of [[1_000], [1_000, 3_000], [1_000, 3_000, 5_000]]) {
      vi.advanceTimersToNextTimer();
      await Promise.resolve();
      await Promise.resolve();
      expect(went).toEqual(all);
    }
    expect(vi.getTimerCount()).toBe(0);
  });

  it("a timer that fires early lets nobody go before the tick, and is set again", async () => {
    const ticks = new CommonTicks();
    let isOver = false;
    const startMs = performance.now();
    void ticks.pause(1_000).then(() => (isOver = true));
    const early = vi.spyOn(performance, "now").mockReturnValue(startMs);
    vi.advanceTimersToNextTimer();
    await Promise.resolve();
    await Promise.resolve();
    expect(isOver).toBe(false);
    early.mockRestore();
    vi.advanceTimersToNextTimer();
    await Promise.resolve();
    await Promise.resolve();
    expect(isOver).toBe(true);
  });

  it("an aborted wait ends at once and leaves no timer; nor does what is over", async () => {
    const ticks = new CommonTicks();
    const stopping = new AbortController();
    const waiting = ticks.pause(5_000, stopping.signal);
    const stop = ticks.every(2_000, () => undefined);
    expect(vi.getTimerCount()).toBe(1);
    stopping.abort();
    await waiting;
    stop();
    await Promise.resolve();
    expect(vi.getTimerCount()).toBe(0);
    await ticks.pause(5_000, stopping.signal);
  });

  it("short waits and intervals have timers of their own", async () => {
    const ticks = new CommonTicks();
    let [rounds, isOver] = [0, false];
    const stop = ticks.every(100, () => rounds++);
    void ticks.pause(250).then(() => (isOver = true));
    await vi.advanceTimersByTimeAsync(250);
    expect([rounds, isOver]).toEqual([2, true]);
    stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("an interval of several seconds keeps its length", async () => {
    const ticks = new CommonTicks();
    const atMs: number[] = [];
    const stop = ticks.every(2_000, () => atMs.push(performance.now()));
    await vi.advanceTimersByTimeAsync(10_500);
    expect(atMs.slice(1).map((ms, i) => Math.round(ms - (atMs[i] ?? 0)))).toEqual(
      atMs.slice(1).map(() => 2_000),
    );
    expect(atMs.length).toBeGreaterThanOrEqual(4);
    stop();
  });
});
