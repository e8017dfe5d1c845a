// Remembers how the last attempts went, and says how long to wait before the next.
// Guarantees: only a connection that stayed up for a while starts the count anew, so a crash loop backs off.
import { fullJitterMs, longJitterMs, type BackoffBounds } from "./backoff.js";
import type { NextStep } from "./close-policy.js";

export interface RetryScheduleOptions {
  readonly normal: BackoffBounds;
  readonly long: BackoffBounds;
  /** A connection that lasted this long was a good one. */
  readonly stableAfterMs: number;
}

export class RetrySchedule {
  readonly #options: RetryScheduleOptions;
  #failures = 0;
  #openedAtMs: number | undefined;

  constructor(options: RetryScheduleOptions) {
    this.#options = options;
  }

  /** A connection was welcomed. */
  opened(): void {
    this.#openedAtMs = performance.now();
  }

  /** What happened so far no longer counts: a new start, or the network came back. */
  reset(): void {
    this.#failures = 0;
    this.#openedAtMs = undefined;
  }

  /**
   * A connection, or an attempt at one, ended.
   * @returns milliseconds to wait
   */
  nextDelayMs(step: Exclude<NextStep, "stop">): number {
    const { normal, long } = this.#options;
    const attempt = this.#count();
    if (step === "backoff") return longJitterMs(attempt, long);
    // A token that ran out is no sign of trouble: the first fresh one may be used at once.
    if (step === "refresh" && attempt === 0) return 0;
    return fullJitterMs(attempt, normal);
  }

  /**
   * The server asks to move.
   * @param afterMs what it asks for
   * @returns that; longer where it asked a connection that was only just made, so that two nodes which both
   *   want to be rid of a client do not throw it back and forth
   */
  moveDelayMs(afterMs: number): number {
    const attempt = this.#count();
    return attempt === 0 ? afterMs : Math.max(afterMs, fullJitterMs(attempt, this.#options.normal));
  }

  /** @returns how many ended since the last good connection, before this one */
  #count(): number {
    const good =
      this.#openedAtMs !== undefined && performance.now() - this.#openedAtMs >= this.#options.stableAfterMs;
    if (good) this.#failures = 0;
    this.#openedAtMs = undefined;
    return this.#failures++;
  }
}
