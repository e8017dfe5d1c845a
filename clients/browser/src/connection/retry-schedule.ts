// Remembers how the last attempts went, and says how long to wait before the next.
// Guarantees: only a connection that stayed up for a while starts the count anew, so a crash loop backs off.
import { fullJitterMs, longJitterMs, type BackoffBounds } from "./backoff.js";
import type { NextStep } from "./close-policy.js";

export interface RetryScheduleOptions {
  readonly normal: BackoffBounds;
  readonly long: BackoffBounds;
  /** A connection that lasted this long was a good one. */
  readonly stableAfterMs: number;
  /** How many addresses are tried in turn: a dead one must not make the wait for the others longer. */
  readonly addresses: number;
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
    const { normal, long, addresses } = this.#options;
    const failures = this.#count();
    if (step === "backoff") return longJitterMs(failures, long);
    // A token that ran out is no sign of trouble: the first fresh one may be used at once.
    if (step === "refresh" && failures === 0) return 0;
    // One round over all of them counts as one attempt, so that each is asked as seldom as if it were the only one.
    return fullJitterMs(Math.floor(failures / addresses), normal);
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
