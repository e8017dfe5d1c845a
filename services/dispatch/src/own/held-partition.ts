// own-partitions -> here: a partition while this dispatcher owns it; every step of work on it asks here first.
// Guarantees: no step begins once the lease is over by the monotonic clock, lost, or being given back. Giving it back
// waits for the steps in progress. Each object is one lease; taking the partition again makes a new object.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { PartitionKeys } from "@petrel/shared/redis/keys";

export interface LeaseTerm {
  /** Monotonic; counted from before the call to Redis, so that it ends here before it ends there. */
  readonly endsAtMs: number;
  /** By Redis's clock; for display. */
  readonly serverUntilMs: number;
}

export class HeldPartition {
  readonly keys: PartitionKeys;
  readonly token: string;
  readonly #clock: Clock;
  #term: LeaseTerm;
  #state: "working" | "closing" | "lost" = "working";
  #steps = 0;
  #onIdle: (() => void)[] = [];

  constructor(keys: PartitionKeys, token: string, term: LeaseTerm, clock: Clock) {
    this.keys = keys;
    this.token = token;
    this.#term = term;
    this.#clock = clock;
  }

  get leaseEndsAtServerMs(): number {
    return this.#term.serverUntilMs;
  }

  /** Whether the lease still stands; checked before each call that acts for the partition. */
  get isHeld(): boolean {
    return this.#state !== "lost" && this.#clock.monotonicMs() < this.#term.endsAtMs;
  }

  /** Whether a new step may begin. */
  get isOpen(): boolean {
    return this.#state === "working" && this.isHeld;
  }

  extend(term: LeaseTerm): void {
    this.#term = term;
  }

  /** The lease is lost: all work stops at its next check. */
  lose(): void {
    this.#state = "lost";
  }

  /**
   * Runs a step of work, unless none may begin any more.
   * @returns whether it ran
   */
  async runStep(step: () => Promise<void>): Promise<boolean> {
    if (!this.isOpen) return false;
    this.#steps++;
    try {
      await step();
    } finally {
      this.#steps--;
      if (this.#steps === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
    }
    return true;
  }

  /** Lets no further step begin; resolves once those in progress have ended. */
  async close(): Promise<void> {
    if (this.#state === "working") this.#state = "closing";
    if (this.#steps > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }
}
