// own-partitions -> here -> presence/remove-holder.lua: removes users from topics that they were in through a push node
// that is gone.
// Guarantees: removal begins within a second of the end of the node's lease, and topics are told. Fenced, a bounded
// number per turn, beside the hand-over. After an outage of Redis or of this dispatcher's link nobody is removed for a
// while, because nodes are about to renew their leases.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { findGoneHolders, removeHolder } from "@petrel/shared/redis/presence/remove-holder";
import type { PresenceHolder } from "@petrel/shared/redis/presence/report-presence";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { AbsenceRules } from "@petrel/shared/redis/wake/wake-users";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import { PartitionLooks } from "../own/partition-looks.js";
import type { PartitionSigns } from "../own/partition-signs.js";
import type { RemovalMetrics } from "./removal-metrics.js";

export interface GoneNodeRemoverOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open" | "lose">;
  readonly signs: Pick<PartitionSigns, "read">;
  /** Whether absence proves anything now, see offer/absence-watch. */
  readonly absence: { readonly rules: Pick<AbsenceRules, "absenceInMs" | "settleMs"> };
  readonly metrics: RemovalMetrics;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly ticks: Pick<CommonTicks, "pause">;
  readonly logger: Logger;
}

/** How long a round waits for its looks, and the shortest time between rounds. */
const TICK_MS = 200;
/** How often a partition is checked, besides when the next lease ends. */
const LOOK_MS = 1_000;
/** Holders per look. */
const MAX_HOLDERS = 10;
/** Calls per look, each for at most 200 users. */
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

  /** Resolves once the looks in progress have ended. */
  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** @returns when to look again */
  async #removeGone(held: HeldPartition): Promise<number> {
    const { scripts, signs, absence } = this.#options;
    const found = await signs.read(held);
    // Whoever wakes users loses a partition that another owns.
    if (found === "stale" || !found.hasHolders) return LOOK_MS;
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
      // A node without users in topics lets its lease end on purpose.
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
