// kernel/pause: a wait that a signal cuts short, and one for work with a bound.
import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { pause, settledOr } from "./pause.js";

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

describe("settledOr", () => {
  it("resolves once all are done, and leaves no timer", async () => {
    await settledOr([Promise.resolve(), Promise.resolve("x")], 60_000);
    await settledOr([], 60_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("resolves when the time is up, whatever becomes of the rest", async () => {
    let isOver = false;
    let fail: (error: Error) => void = () => undefined;
    const late = new Promise<void>((_resolve, reject) => (fail = reject));
    const waited = settledOr([late], 500).then(() => (isOver = true));
    await vi.advanceTimersByTimeAsync(499);
    expect(isOver).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await waited;
    fail(new Error("nobody waits any more"));
    await vi.advanceTimersByTimeAsync(0);
  });

  it("rejects with the first failure, and leaves no timer", async () => {
    await expect(settledOr([Promise.reject(new Error("first"))], 60_000)).rejects.toThrow("first");
    expect(vi.getTimerCount()).toBe(0);
  });
});
