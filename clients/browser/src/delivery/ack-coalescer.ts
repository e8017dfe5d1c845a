// Between handled messages and `ack` frames: many requests in a short time become one flush.
// Guarantees: a flush follows every request within `delayMs`, or in the same turn while timers are throttled.

export interface AckCoalescerOptions {
  readonly delayMs: number;
  /** Sends what is due now. */
  readonly flush: () => void;
  /** Whether timers may fire late, as in a hidden page, where a browser lets them run once a minute. */
  readonly timersThrottled: () => boolean;
}

export class AckCoalescer {
  readonly #options: AckCoalescerOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #microtask = false;

  constructor(options: AckCoalescerOptions) {
    this.#options = options;
  }

  request(): void {
    if (this.#options.timersThrottled()) {
      if (this.#microtask) return;
      this.#microtask = true;
      queueMicrotask(() => {
        this.#microtask = false;
        this.flushNow();
      });
      return;
    }
    this.#timer ??= setTimeout(() => this.flushNow(), this.#options.delayMs);
  }

  flushNow(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#options.flush();
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** Whether this is a page that nobody sees at the moment. */
export function pageIsHidden(): boolean {
  return typeof document !== "undefined" && document.visibilityState === "hidden";
}
