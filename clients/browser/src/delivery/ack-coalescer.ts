// message-delivery -> here: turns many handled messages into few `ack` frames.
// Guarantees: after a quiet time an ack leaves within `delayMs`; later ones linger, at most until `lingerMs` after the
// one before. Nothing lingers while timers are throttled, or once `flushNow` is called.

export interface AckCoalescerOptions {
  readonly delayMs: number;
  /** How long after an ack the next one may leave; asked each time. */
  readonly lingerMs: () => number;
  /** Called `delayMs` after a message was handled, and before each `send`. */
  readonly settle: () => void;
  /** Sends what is due now. @returns whether there was anything to send */
  readonly send: () => boolean;
  /** Whether timers may fire late. In a hidden page, browsers may run them once a minute. */
  readonly timersThrottled: () => boolean;
}

export class AckCoalescer {
  readonly #options: AckCoalescerOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #linger: ReturnType<typeof setTimeout> | undefined;
  #microtask = false;
  #sentAtMs = Number.NEGATIVE_INFINITY;

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
    this.#timer ??= setTimeout(() => this.#settle(), this.#options.delayMs);
  }

  flushNow(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#send();
  }

  #settle(): void {
    this.#timer = undefined;
    this.#options.settle();
    if (this.#linger !== undefined) return;
    const waitMs = this.#sentAtMs + this.#options.lingerMs() - performance.now();
    if (waitMs <= 0 || this.#options.timersThrottled()) this.#send();
    else this.#linger = setTimeout(() => this.#send(), waitMs);
  }

  #send(): void {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    this.#options.settle();
    if (this.#options.send()) this.#sentAtMs = performance.now();
  }
}

/** Whether this is a page, and hidden. */
export function pageIsHidden(): boolean {
  return typeof document !== "undefined" && document.visibilityState === "hidden";
}
