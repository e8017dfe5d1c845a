// Remembers how the last attempts went, and says how long to wait before the next one.
// Guarantees: only a connection that stayed up for a while resets the count, so a crash loop backs off.
import { fullJitterMs, longJitterMs, type BackoffBounds } from "./backoff.js";
import type { NextStep } from "./close-policy.js";

export interface RetryScheduleOptions {
  readonly normal: BackoffBounds;
  readonly long: BackoffBounds;
  /** A connection that lasted this long was a good one. */
  readonly stableAfterMs: number;
  /** How many addresses are tried in turn. A dead one must not lengthen the wait for the others. */
  readonly addresses: number;
}

export class RetrySchedule {
  readonly #options: RetryScheduleOptions;
  #failures = 0;
  #openedAtMs: number | undefined;

  constructor(options: RetryScheduleOptions) {
    this.#options = options;
  }

  /** How many attempts have failed since the last good connection. */
  get failures(): number {
    return this.#failures;
  }

  /** A connection was welcomed. */
  opened(): void {
    this.#openedAtMs = performance.now();
  }

  /** Forgets past failures: the client starts afresh, or the network is back. */
  reset(): void {
    this.#failures = 0;
    this.#openedAtMs = undefined;
  }

  /**
   * A connection, or an attempt at one, ended.
   * @returns milliseconds to wait
   */
  nextDelayMs(step: Exclude<NextStep, "stop">): number {
    const { normal, long, addresses } = this.#options;
    const failures = this.#count();
    if (step === "backoff") return longJitterMs(failures, long);
    // An expired token is no sign of trouble, so the first fresh token may be used at once.
    if (step === "refresh" && failures === 0) return 0;
    // One round over all addresses counts as one attempt, so each is tried as rarely as if it were the only one.
    return fullJitterMs(Math.floor(failures / addresses), normal);
  }

  /**
   * The server asks to move.
   * @param afterMs what it asks for
   * @returns that, or longer if the connection is brand new: two nodes must not bounce a client back
   *   and forth
   */
  moveDelayMs(afterMs: number): number {
    const attempt = this.#count();
    return attempt === 0 ? afterMs : Math.max(afterMs, fullJitterMs(attempt, this.#options.normal));
  }

  /** @returns how many ended since the last good connection, not counting this one */
  #count(): number {
    const good =
      this.#openedAtMs !== undefined && performance.now() - this.#openedAtMs >= this.#options.stableAfterMs;
    if (good) this.#failures = 0;
    this.#openedAtMs = undefined;
    return this.#failures++;
  }
}
