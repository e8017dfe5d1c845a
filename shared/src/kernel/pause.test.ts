// kernel/pause: a wait that a signal cuts short.
import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { pause } from "./pause.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe("pause", () => {
  it("ends when the time is over, and leaves no listener", async () => {
    const { signal } = new AbortController();
    let isOver = false;
    const over = pause(100, signal).then(() => (isOver = true));
    await vi.advanceTimersByTimeAsync(99);
    expect(isOver).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await over;
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });

  it("ends early when the signal is aborted, and leaves no timer", async () => {
    const stopping = new AbortController();
    const over = pause(100, stopping.signal);
    stopping.abort();
    await over;
    expect(vi.getTimerCount()).toBe(0);
    await pause(100, stopping.signal);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("needs no signal", async () => {
    const over = pause(100);
    await vi.advanceTimersByTimeAsync(100);
    await over;
  });
});
