// walk-users -> here -> wake/reconcile.lua: compares, for each user of the partitions owned here, what was accepted
// (`seq`) with what has ended (`acked`), and restarts what hangs.
// Guarantees: a round visits every user at a bounded, steady cost. A user with open messages whom nothing watches is
// watched from then on, counted, and logged with the ids of the messages. Records of messages that stay open long are
// kept.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Loop } from "@petrel/shared/kernel/loop";
import { traceIdsOf } from "@petrel/shared/kernel/tracing/tracing";
import type { InboxMessage } from "@petrel/shared/protocol/messages/stored-message";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { keepRecords } from "@petrel/shared/redis/inbox/keep-records";
import { readInbox } from "@petrel/shared/redis/inbox/read-inbox";
import { reconcileUsers, type HangingUser } from "@petrel/shared/redis/wake/reconcile-users";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import type { RoundMetrics } from "./round-metrics.js";
import { walkUsers } from "./walk-users.js";

export interface ReconcilerOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open" | "lose">;
  readonly metrics: Pick<RoundMetrics, "hanging" | "reconciled">;
  readonly logger: Logger;
  /** How long after its due time a user counts as hanging. */
  readonly overdueMs: number;
  /** How long a fully acknowledged inbox is kept after its last message and acknowledgement. */
  readonly idleMs: number;
  /** See inbox/keep-records. */
  readonly recordKeepMs: number;
  /** Between two steps; REST_INTERVALS times as long after a round. */
  readonly intervalMs: number;
}

/**
 * With few users a round is short, and would begin again and again: with 2,000 of them and a rest of 5 s it cost as much
 * as their pings. By default the rest is 30 s. The first round begins at once, whatever was left by who went before.
 */
const REST_INTERVALS = 120;

/** How many ids of a hanging user's messages are logged. */
const MAX_IDS = 20;

export function createReconciler(options: ReconcilerOptions): Loop {
  const reconciler = new Reconciler(options);
  return new Loop((signal) => reconciler.round(signal));
}

class Reconciler {
  readonly #options: ReconcilerOptions;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** @returns the pause before the next round */
  async round(signal: AbortSignal): Promise<number> {
    const { scripts, owner, logger, metrics, intervalMs } = this.#options;
    const visit = (held: HeldPartition, userIds: readonly string[]) => this.#reconcile(held, userIds);
    try {
      await walkUsers({ scripts, owner, kind: "user", intervalMs, signal, visit });
      if (!signal.aborted) metrics.reconciled();
    } catch (error) {
      logger.warn({ reason: describeError(error) }, "reconciliation failed: starting over");
    }
    // At the start nothing is owned yet.
    return owner.open.length === 0 ? intervalMs : REST_INTERVALS * intervalMs;
  }

  async #reconcile(held: HeldPartition, userIds: readonly string[]): Promise<void> {
    const { scripts, owner, metrics, logger, overdueMs, idleMs, recordKeepMs } = this.#options;
    const reconciled = await reconcileUsers(scripts, held.keys, held.token, { overdueMs, idleMs }, userIds);
    if (reconciled === "stale") return owner.lose(held, "the reconciliation was refused");
    const { hanging, unkept } = reconciled;
    await keepRecords(
      scripts,
      held.keys,
      unkept.map((userId) => ({ userId, minAgeMs: 0 })),
      recordKeepMs,
    );
    for (const user of hanging) {
      metrics.hanging(user.reason);
      const messages = await this.#readOpen(held.keys, user).catch(() => []);
      const { userId, reason, acked, seq } = user;
      const ids = messages.map(({ id }) => id);
      logger.warn(
        { user: userId, reason, open: seq - acked, ids, ...traceIdsOf(messages) },
        "a user's messages were stuck: resumed",
      );
    }
  }

  async #readOpen(
    keys: PartitionKeys,
    { userId, acked, seq }: HangingUser,
  ): Promise<readonly InboxMessage[]> {
    if (acked >= seq) return [];
    const page = { maxEntries: MAX_IDS, maxBytes: 256 * 1024 } as const;
    return (await readInbox(this.#options.scripts, keys, userId, acked, page)).messages;
  }
}
