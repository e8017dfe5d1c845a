// Turns many handled messages in a short time into one `ack` frame.
// Guarantees: every request is flushed within `delayMs`, or in the same turn while timers are throttled.

export interface AckCoalescerOptions {
  readonly delayMs: number;
  /** Sends what is due now. */
  readonly flush: () => void;
  /** Whether timers may fire late. In a hidden page, browsers may run them once a minute. */
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

/** Whether this is a page, and hidden. */
export function pageIsHidden(): boolean {
  return typeof document !== "undefined" && document.visibilityState === "hidden";
}
