// Tests when a request that waits ends.
import { EventEmitter } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { WaitingRequests } from "./waiting-requests.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const STREAM_MS = 900_000;

function open() {
  const stopping = new AbortController();
  const socket = new EventEmitter();
  return { stopping, socket, requests: new WaitingRequests(stopping.signal) };
}

test("ends when its client leaves, its time is over, or the process stops", () => {
  for (const end of ["gone", "over", "stop"] as const) {
    const { stopping, socket, requests } = open();
    const { signal, release } = requests.begin(socket, STREAM_MS);
    vi.advanceTimersByTime(STREAM_MS - 1);
    expect(signal.aborted).toBe(false);
    if (end === "gone") socket.emit("close");
    if (end === "over") vi.advanceTimersByTime(1);
    if (end === "stop") stopping.abort();
    expect(signal.aborted, end).toBe(true);
    release();
    expect([requests.count, socket.listenerCount("close"), vi.getTimerCount()]).toEqual([0, 0, 0]);
  }
});

test("a request that arrives during the stop ends at once; a finished one is not aborted", () => {
  const { stopping, socket, requests } = open();
  const over = requests.begin(socket);
  over.release();
  stopping.abort();
  expect(over.signal.aborted).toBe(false);
  expect(requests.begin(socket).signal.aborted).toBe(true);
});
