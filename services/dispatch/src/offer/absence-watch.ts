// wake/wake-users, offer-unreached -> here: whether absence proves anything yet.
// Guarantees: after this dispatcher's own link to Redis was down, nobody counts as offline for a while. The nodes'
// links were probably down too, and nodes need a moment to announce themselves and register their connections again.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { AbsenceRules } from "@petrel/shared/redis/wake/wake-users";

export interface AbsenceWatchOptions {
  readonly clock: Clock;
  /** How long absence proves nothing after the link is back, or after a Redis failover. */
  readonly settleMs: number;
  /** How long a live node may go without listening before it counts as not reached. */
  readonly confirmMs: number;
}

/** A link that keeps breaking extends that time to at most this many times itself. */
const MAX_SETTLES = 3;

export class AbsenceWatch {
  readonly #options: AbsenceWatchOptions;
  #countsFromMs = Number.NEGATIVE_INFINITY;
  /** When absence stopped proving anything. */
  #unsettledSinceMs = 0;

  constructor(options: AbsenceWatchOptions) {
    this.#options = options;
  }

  /** Call it when the link to Redis is back after an outage. */
  linkIsBack(): void {
    const { clock, settleMs } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs >= this.#countsFromMs) this.#unsettledSinceMs = nowMs;
    // A flapping link must not keep everybody from their fallback forever.
    this.#countsFromMs = Math.min(nowMs + settleMs, this.#unsettledSinceMs + MAX_SETTLES * settleMs);
  }

  /** The current rules, as the scripts take them. */
  get rules(): AbsenceRules {
    const { clock, settleMs, confirmMs } = this.#options;
    const absenceInMs = Math.ceil(Math.max(0, this.#countsFromMs - clock.monotonicMs()));
    return { absenceInMs, settleMs, confirmMs };
  }
}
