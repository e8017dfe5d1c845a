// push-node/leave/move-connections -> here -> partitions/hold-absence.lua: nobody counts as offline while clients move.
// Guarantees: repeated each second for every partition with a new epoch, while clients are asked to move or handshakes
// wait, and a while longer. The script bounds it from the beginning of the generation.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { holdAbsence } from "@petrel/shared/redis/partitions/hold-absence";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface HoldAbsenceOptions {
  readonly scripts: ScriptRunner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether clients are still moving. */
  readonly isNeeded: () => boolean;
}

const EVERY_MS = 1_000;
/** The last client that was asked needs a moment to return. */
const LONGER_MS = 3_000;

export class HoldAbsence {
  readonly #options: HoldAbsenceOptions;
  readonly #held = new Set<PartitionKeys>();
  #untilMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HoldAbsenceOptions) {
    this.#options = options;
  }

  hold(keys: PartitionKeys): void {
    if (this.#held.has(keys)) return;
    this.#held.add(keys);
    void this.#announce(keys);
    this.#untilMs = this.#options.clock.monotonicMs() + LONGER_MS;
    this.#timer ??= setInterval(() => this.#tick(), EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#held.clear();
  }

  #tick(): void {
    const { clock, isNeeded } = this.#options;
    const nowMs = clock.monotonicMs();
    if (isNeeded()) this.#untilMs = nowMs + LONGER_MS;
    if (nowMs >= this.#untilMs) this.stop();
    for (const keys of this.#held) void this.#announce(keys);
  }

  async #announce(keys: PartitionKeys): Promise<void> {
    try {
      await holdAbsence(this.#options.scripts, keys);
    } catch (error) {
      const { partition } = keys;
      this.#options.logger.warn({ partition, reason: describeError(error) }, "absence not held");
    }
  }
}
