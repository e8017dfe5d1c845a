// own-partitions -> here -> wake/wake-users, presence/remove-gone-nodes, events/watch-online: the partitions owned here,
// each looked at in its own time.
// Guarantees: one look at a partition at a time; one that waits for its master does not keep the others; what fails is
// looked at again. A stop resolves when the looks under way are over.
import type { Clock } from "@petrel/shared/kernel/clock";
import { untilCommonTick } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Loop } from "@petrel/shared/kernel/loop";
import { pause } from "@petrel/shared/kernel/pause";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { HeldPartition } from "./held-partition.js";
import type { PartitionOwner } from "./own-partitions.js";

export interface PartitionLooksOptions {
  /** What the looks of a round ask first leaves in one write. */
  readonly scripts: Pick<ScriptRunner, "together">;
  readonly owner: Pick<PartitionOwner, "open">;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
  /** A round waits for its looks for so long, and none follows sooner. */
  readonly everyMs: number;
  /** After a look that failed. */
  readonly retryMs: number;
  /** Of a look that failed, for the log. */
  readonly failed: string;
  /**
   * @param signal aborted when it must come to an end
   * @returns in how long to look again
   */
  readonly look: (held: HeldPartition, signal: AbortSignal) => Promise<number>;
}

export class PartitionLooks {
  readonly #options: PartitionLooksOptions;
  readonly #loop = new Loop((signal) => this.#round(signal));
  readonly #nextMs = new WeakMap<HeldPartition, number>();
  readonly #underWay = new Map<HeldPartition, Promise<void>>();

  constructor(options: PartitionLooksOptions) {
    this.#options = options;
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
        // What is looked at soon is looked at now: one wake-up serves all.
        if (this.#underWay.has(held) || this.#next(held) > nowMs + everyMs) continue;
        this.#underWay.set(held, this.#look(held, signal));
      }
    });
    const over = new AbortController();
    await Promise.race([Promise.all(this.#underWay.values()), pause(everyMs, over.signal)]);
    over.abort();
    const { open } = owner;
    // A partition may be taken at any moment.
    const nextMs = open.length === 0 ? 0 : Math.min(...open.map((held) => this.#next(held)));
    return untilCommonTick(Math.max(everyMs, nextMs - clock.monotonicMs()));
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
