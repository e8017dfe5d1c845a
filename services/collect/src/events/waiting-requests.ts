// collect/event-routes -> here: the requests that wait for events, and when each must end.
// Guarantees: each ends when its client is gone, its time is up, or the process stops, whichever comes first. A
// finished one leaves neither a timer nor a listener.
import type { EventEmitter } from "node:events";

export interface WaitingRequest {
  /** Aborted when it must end. */
  readonly signal: AbortSignal;
  /** Call it once, when the request is over. */
  readonly release: () => void;
}

export class WaitingRequests {
  readonly #open = new Set<AbortController>();
  readonly #stopping: AbortSignal;

  /** @param stopping aborted when the process stops */
  constructor(stopping: AbortSignal) {
    this.#stopping = stopping;
    stopping.addEventListener("abort", () => {
      for (const one of this.#open) one.abort();
    });
  }

  get count(): number {
    return this.#open.size;
  }

  /** @param longestMs how long it may take; unbounded if absent */
  begin(socket: EventEmitter, longestMs?: number): WaitingRequest {
    const one = new AbortController();
    const abort = (): void => one.abort();
    const timer = longestMs === undefined ? undefined : setTimeout(abort, longestMs);
    this.#open.add(one);
    socket.once("close", abort);
    if (this.#stopping.aborted) abort();
    return {
      signal: one.signal,
      release: () => {
        clearTimeout(timer);
        socket.off("close", abort);
        this.#open.delete(one);
      },
    };
  }
}
