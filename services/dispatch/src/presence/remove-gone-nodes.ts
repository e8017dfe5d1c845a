// own-partitions -> here -> presence/remove-holder.lua: who was in topics on a push node that is gone.
// Guarantees: within a second of the end of a node's lease its users begin to go, and topics are told; fenced, a bounded
// number a turn, beside the hand-over. After this dispatcher's link or Redis was away nobody is removed for a while:
// the nodes are about to renew their leases.
import type { Clock } from "@petrel/shared/kernel/clock";
import { untilCommonTick } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Loop } from "@petrel/shared/kernel/loop";
import { pause } from "@petrel/shared/kernel/pause";
import { findGoneHolders, removeHolder } from "@petrel/shared/redis/presence/remove-holder";
import type { PresenceHolder } from "@petrel/shared/redis/presence/report-presence";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { AbsenceRules } from "@petrel/shared/redis/wake/wake-users";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
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
  readonly #loop = new Loop(() => this.#tick());
  readonly #nextLookMs = new WeakMap<HeldPartition, number>();
  readonly #underWay = new Map<HeldPartition, Promise<void>>();

  constructor(options: GoneNodeRemoverOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop.start();
  }

  /** Resolves when the looks under way are over. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    await Promise.all(this.#underWay.values());
  }

  /** One that waits for its master does not keep the others. */
  async #tick(): Promise<number> {
    const { owner, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const held of owner.open) {
      if (this.#underWay.has(held) || (this.#nextLookMs.get(held) ?? 0) > nowMs + TICK_MS) continue;
      this.#underWay.set(held, this.#look(held));
    }
    const over = new AbortController();
    await Promise.race([Promise.all(this.#underWay.values()), pause(TICK_MS, over.signal)]);
    over.abort();
    const next = owner.open.map((held) => (this.#nextLookMs.get(held) ?? 0) - clock.monotonicMs());
    return untilCommonTick(Math.max(TICK_MS, Math.min(LOOK_MS, ...next)));
  }

  async #look(held: HeldPartition): Promise<void> {
    const { clock, logger } = this.#options;
    let nextInMs = LOOK_MS;
    try {
      await held.runStep(async () => {
        nextInMs = await this.#removeGone(held);
      });
    } catch (error) {
      const { partition } = held.keys;
      logger.warn(
        { partition, reason: describeError(error) },
        "nodes that are gone not removed: trying again",
      );
    }
    this.#nextLookMs.set(held, clock.monotonicMs() + Math.min(nextInMs, LOOK_MS));
    this.#underWay.delete(held);
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
