// own-partitions -> here -> presence/remove-holder.lua: who was in topics on a push node that is gone.
// Guarantees: within a second of the end of a node's lease its users begin to go, and topics are told; fenced, a bounded
// number a turn, beside the hand-over. After this dispatcher's link or Redis was away nobody is removed for a while:
// the nodes are about to renew their leases.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { findGoneHolders, removeHolder } from "@petrel/shared/redis/presence/remove-holder";
import type { PresenceHolder } from "@petrel/shared/redis/presence/report-presence";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { AbsenceRules } from "@petrel/shared/redis/wake/wake-users";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import { PartitionLooks } from "../own/partition-looks.js";
import type { RemovalMetrics } from "./removal-metrics.js";

export interface GoneNodeRemoverOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open" | "lose">;
  /** Whether absence proves anything now, see offer/absence-watch. */
  readonly absence: { readonly rules: Pick<AbsenceRules, "absenceInMs" | "settleMs"> };
  readonly metrics: RemovalMetrics;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
}

/** A round waits for its looks for so long, and none follows sooner. */
const TICK_MS = 200;
/** A partition is looked at this often, and when the next lease ends. */
const LOOK_MS = 1_000;
/** Holders in one look. */
const MAX_HOLDERS = 10;
/** Calls in one look, each for 200 users at most. */
const MAX_CALLS = 20;

export class GoneNodeRemover {
  readonly #options: GoneNodeRemoverOptions;
  readonly #looks: PartitionLooks;

  constructor(options: GoneNodeRemoverOptions) {
    this.#options = options;
    this.#looks = new PartitionLooks({
      ...options,
      everyMs: TICK_MS,
      retryMs: LOOK_MS,
      failed: "nodes that are gone not removed: trying again",
      look: async (held) => {
        let nextInMs = LOOK_MS;
        await held.runStep(async () => {
          nextInMs = await this.#removeGone(held);
        });
        return Math.min(nextInMs, LOOK_MS);
      },
    });
  }

  start(): void {
    this.#looks.start();
  }

  /** Resolves when the looks under way are over. */
  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** @returns when to look again */
  async #removeGone(held: HeldPartition): Promise<number> {
    const { scripts, absence } = this.#options;
    const { holders, nextInMs = LOOK_MS } = await findGoneHolders(scripts, held.keys, MAX_HOLDERS);
    if (holders.length === 0) return nextInMs;
    const { absenceInMs } = absence.rules;
    if (absenceInMs > 0) return absenceInMs;
    let calls = 0;
    for (const holder of holders) {
      let users = 0;
      for (let isDone = false; !isDone; calls++) {
        if (calls === MAX_CALLS || !held.isHeld) return 0;
        const removal = await this.#removeSome(held, holder);
        users += removal.users;
        ({ isDone } = removal);
      }
      // A node that had nobody in a topic any more lets its lease end.
      if (users > 0) this.#tell(held, holder);
    }
    return holders.length === MAX_HOLDERS ? 0 : nextInMs;
  }

  async #removeSome(
    held: HeldPartition,
    holder: PresenceHolder,
  ): Promise<{ readonly users: number; readonly isDone: boolean }> {
    const { scripts, owner, absence, metrics } = this.#options;
    const removal = await removeHolder(scripts, held.keys, held.token, holder, absence.rules);
    switch (removal.outcome) {
      case "stale":
        owner.lose(held, "the removal of a node was refused");
        return { users: 0, isDone: true };
      case "alive":
      case "wait":
        return { users: 0, isDone: true };
      case "more":
      case "done":
        metrics.removed(removal.users);
        return { users: removal.users, isDone: removal.outcome === "done" };
    }
  }

  #tell({ keys: { partition } }: HeldPartition, { node }: PresenceHolder): void {
    const { metrics, logger } = this.#options;
    metrics.nodeRemoved();
    logger.info({ partition, node }, "a node is gone: its users left their topics");
  }
}
