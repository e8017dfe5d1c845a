// dispatch: looks after users whose `due` has come: nobody acknowledged in time, or a message's time is over.
// Guarantees: each partition's users on a timer, at once again while there are more; beside the hand-over, never in
// its way; fenced, so that a stale owner wakes nobody.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging";
import type { ScriptRunner } from "@petrel/shared/redis/script-runner";
import { readServerTimeMs } from "@petrel/shared/redis/server-time";
import { readDueUsers, wakeUsers } from "@petrel/shared/redis/wake-users";
import type { DispatchMetrics } from "./dispatch-metrics.js";
import { expireUsers } from "./expire-users.js";
import type { HeldPartition } from "./held-partition.js";
import type { PartitionOwner } from "./own-partitions.js";
import { pause } from "./pause.js";

export interface UserWakerOptions {
  readonly scripts: ScriptRunner;
  readonly owner: PartitionOwner;
  readonly metrics: Pick<DispatchMetrics, "woken" | "expired">;
  readonly logger: Logger;
  readonly ackTimeoutMs: number;
  readonly intervalMs: number;
}

/** What one call of the script takes. */
const MAX_USERS = 200;

export class UserWaker {
  readonly #options: UserWakerOptions;
  readonly #stopping = new AbortController();
  readonly #underWay = new Map<HeldPartition, Promise<void>>();
  #running: Promise<void> | undefined;

  constructor(options: UserWakerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves when the batches under way are done. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await Promise.all(this.#underWay.values());
  }

  async #run(): Promise<void> {
    const { owner, intervalMs } = this.#options;
    while (!this.#stopping.signal.aborted) {
      for (const held of owner.open) {
        // A partition with a long backlog goes on by itself; the others keep their rhythm.
        if (!this.#underWay.has(held)) this.#underWay.set(held, this.#wakePartition(held));
      }
      await pause(intervalMs, this.#stopping.signal);
    }
  }

  /** Batch after batch, until one was not full; what fails is tried again at the timer. */
  async #wakePartition(held: HeldPartition): Promise<void> {
    try {
      let more = true;
      while (more && !this.#stopping.signal.aborted) {
        more = false;
        await held.runStep(async () => {
          more = (await this.#wakeBatch(held)) === MAX_USERS;
        });
      }
    } catch (error) {
      const { partition } = held.keys;
      this.#options.logger.warn({ partition, reason: describeError(error) }, "users not woken");
    } finally {
      this.#underWay.delete(held);
    }
  }

  /** @returns how many were due */
  async #wakeBatch(held: HeldPartition): Promise<number> {
    const { scripts, owner, metrics, ackTimeoutMs } = this.#options;
    const { keys } = held;
    // Anew for each batch: a clock that was set back must not show the same users for ever.
    const nowMs = await readServerTimeMs(scripts.redis);
    const userIds = await readDueUsers(scripts.redis, keys, nowMs, MAX_USERS);
    if (userIds.length === 0 || !held.isHeld) return 0;
    const woken = await wakeUsers(scripts, keys, held.token, ackTimeoutMs, userIds);
    if (woken === "stale") {
      owner.lose(held, "the wake was refused");
      return 0;
    }
    for (const { outcome } of woken) metrics.woken(outcome);
    const overdue = woken.filter(({ expire }) => expire).map(({ userId }) => userId);
    if (overdue.length > 0) metrics.expired(await expireUsers(scripts, keys, overdue, nowMs));
    return userIds.length;
  }
}
