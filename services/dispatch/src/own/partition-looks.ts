// own-partitions -> here -> wake/wake-users, presence/remove-gone-nodes, events/watch-online: looks at each partition
// owned here, on its own schedule.
// Guarantees: one look at a partition at a time. One that waits for its master does not delay the others. A failed look
// is repeated. A stop resolves once the looks in progress have ended.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Loop } from "@petrel/shared/kernel/loop";
import { settledOr } from "@petrel/shared/kernel/pause";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { HeldPartition } from "./held-partition.js";
import type { PartitionOwner } from "./own-partitions.js";

export interface PartitionLooksOptions {
  /** Pipelines the first queries of a round's looks. */
  readonly scripts: Pick<ScriptRunner, "together">;
  readonly owner: Pick<PartitionOwner, "open">;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly ticks: Pick<CommonTicks, "pause">;
  readonly logger: Logger;
  /** How long a round waits for its looks, and the shortest time between rounds. */
  readonly everyMs: number;
  /** The wait after a failed look. */
  readonly retryMs: number;
  /** The log message for a failed look. */
  readonly failed: string;
  /**
   * @param signal aborted when the look must end
   * @returns the wait before the next look
   */
  readonly look: (held: HeldPartition, signal: AbortSignal) => Promise<number>;
}

export class PartitionLooks {
  readonly #options: PartitionLooksOptions;
  readonly #loop: Loop;
  readonly #nextMs = new WeakMap<HeldPartition, number>();
  readonly #underWay = new Map<HeldPartition, Promise<void>>();

  constructor(options: PartitionLooksOptions) {
    this.#options = options;
    this.#loop = new Loop((signal) => this.#round(signal), options.ticks);
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    await Promise.all(this.#underWay.values());
  }

  async #round(signal: AbortSignal): Promise<number> {
    const { scripts, owner, clock, everyMs } = this.#options;
    const nowMs = clock.monotonicMs();
    scripts.together(() => {
      for (const held of owner.open) {
        // A look that is due soon happens now, so that one wake-up serves all.
        if (this.#underWay.has(held) || this.#next(held) > nowMs + everyMs) continue;
        this.#underWay.set(held, this.#look(held, signal));
      }
    });
    await settledOr(this.#underWay.values(), everyMs);
    const { open } = owner;
    // With no partitions, one may be taken at any moment.
    const nextMs = open.length === 0 ? 0 : Math.min(...open.map((held) => this.#next(held)));
    return Math.max(everyMs, nextMs - clock.monotonicMs());
  }

  #next(held: HeldPartition): number {
    return this.#nextMs.get(held) ?? 0;
  }

  async #look(held: HeldPartition, signal: AbortSignal): Promise<void> {
    const { clock, logger, look, retryMs, failed } = this.#options;
    let nextInMs = retryMs;
    try {
      nextInMs = await look(held, signal);
    } catch (error) {
      logger.warn({ partition: held.keys.partition, reason: describeError(error) }, failed);
    }
    this.#nextMs.set(held, clock.monotonicMs() + nextInMs);
    this.#underWay.delete(held);
  }
}
