// wake/wake-users, offer-unreached -> here: whether absence says anything yet.
// Guarantees: after this dispatcher's own link to Redis was down, nobody counts as offline for a while. The nodes' links
// were likely down too, and nodes need a moment to announce themselves and to register their connections again.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { AbsenceRules } from "@petrel/shared/redis/wake/wake-users";

export interface AbsenceWatchOptions {
  readonly clock: Clock;
  /** For how long absence says nothing after the link is back, or after Redis has become another master. */
  readonly settleMs: number;
  /** After how long a node that is there, but does not listen, counts as not reached. */
  readonly confirmMs: number;
}

/** A link that keeps breaking extends the time to this many times itself, at most. */
const MAX_SETTLES = 3;

export class AbsenceWatch {
  readonly #options: AbsenceWatchOptions;
  #countsFromMs = Number.NEGATIVE_INFINITY;
  /** When the time began in which absence says nothing. */
  #unsettledSinceMs = 0;

  constructor(options: AbsenceWatchOptions) {
    this.#options = options;
  }

  /** The link to Redis was down and is back. */
  linkIsBack(): void {
    const { clock, settleMs } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs >= this.#countsFromMs) this.#unsettledSinceMs = nowMs;
    // A flapping link must not keep everybody from their fallback for ever.
    this.#countsFromMs = Math.min(nowMs + settleMs, this.#unsettledSinceMs + MAX_SETTLES * settleMs);
  }

  /** As the scripts take them, at this moment. */
  get rules(): AbsenceRules {
    const { clock, settleMs, confirmMs } = this.#options;
    const absenceInMs = Math.ceil(Math.max(0, this.#countsFromMs - clock.monotonicMs()));
    return { absenceInMs, settleMs, confirmMs };
  }
}
