// dispatch: looks after users whose `due` has come: nobody acknowledged in time, or a message's time is over.
// Guarantees: each partition's users on a timer, at once again while there are more; beside the hand-over, never in
// its way; fenced, so that a stale owner wakes nobody.
import type { Clock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import { isConnectionError } from "@petrel/shared/redis/connection/connect";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { NO_TRACING, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { keepRecords, YOUNG_MS } from "@petrel/shared/redis/inbox/keep-records";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import {
  postponeUser,
  readDueUsers,
  wakeUsers,
  type WakeOutcome,
  type WokenUser,
} from "@petrel/shared/redis/wake/wake-users";
import type { AbsenceWatch } from "../own/absence-watch.js";
import type { DispatchMetrics } from "../dispatch-metrics.js";
import { expireUsers } from "./expire-users.js";
import { followTime } from "../own/follow-time.js";
import type { HeldPartition } from "../own/held-partition.js";
import { offerUnreached } from "../hand-over/offer-unreached.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import { pause } from "../pause.js";
import { traceOffers } from "./trace-offers.js";

export interface UserWakerOptions {
  readonly scripts: ScriptRunner;
  readonly owner: PartitionOwner;
  readonly metrics: Pick<DispatchMetrics, "woken" | "expired" | "offered" | "nodesGone">;
  readonly absence: AbsenceWatch;
  /** Entries that a fallback stream may have. */
  readonly fallbackCap?: number | undefined;
  /** See redis/keep-records. */
  readonly recordKeepMs?: number | undefined;
  /** Something was put into the fallback streams. */
  readonly onOffered: () => void;
  /** Something found its fallback stream full. */
  readonly onHeldUp?: (() => void) | undefined;
  readonly logger: Logger;
  readonly ackTimeoutMs: number;
  readonly intervalMs: number;
  readonly clock: Pick<Clock, "monotonicMs">;
  /** Off by default. */
  readonly tracing?: Tracing;
}

/** What one call of the script takes. */
const MAX_USERS = 200;
/** For how many times as long as a full look at what is over took none follows. */
const REST_FACTOR = 4;
/** When a user is looked at again whom Redis refuses to work on. */
const POSTPONE_MS = 60_000;

/** Why a wake offers, for traces: nobody was there, or somebody was and did not acknowledge in time. */
const reasons: Readonly<Partial<Record<WakeOutcome, string>>> = {
  offline: "unreached",
  unheard: "unreached",
  nudged: "unacknowledged",
};

export class UserWaker {
  readonly #options: UserWakerOptions;
  readonly #stopping = new AbortController();
  readonly #restUntilMs = new WeakMap<HeldPartition, number>();
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
    const { scripts, owner, metrics, onOffered, tracing = NO_TRACING } = this.#options;
    const { keys } = held;
    const startMs = Date.now();
    // Anew for each batch: a clock that was set back must not show the same users for ever.
    const nowMs = await followTime(this.#options, held);
    if (nowMs === "stale") {
      owner.lose(held, "the look at the time was refused");
      return 0;
    }
    const userIds = await readDueUsers(scripts.redis, keys, nowMs, MAX_USERS);
    if (userIds.length === 0 || !held.isHeld) return 0;
    const woken = await this.#wake(held, userIds, nowMs);
    if (woken === "stale") {
      owner.lose(held, "the wake was refused");
      return 0;
    }
    if (woken.some(({ isHeldUp }) => isHeldUp)) this.#options.onHeldUp?.();
    let offered = 0;
    for (const user of woken) {
      metrics.woken(user.outcome);
      offered += user.offered;
      if (user.traced === undefined) continue;
      const reason = reasons[user.outcome] ?? user.outcome;
      traceOffers(tracing, { partition: keys.partition, startMs, reason }, user.traced);
    }
    if (offered > 0) {
      metrics.offered(offered);
      onOffered();
    }
    const unheard = woken.filter(({ outcome }) => outcome === "unheard");
    if (unheard.length > 0 && !(await offerUnreached(this.#options, held, unheard))) {
      owner.lose(held, "the offer was refused");
      return 0;
    }
    await this.#keepRecords(held, woken);
    const overdue = woken.filter(({ expire }) => expire).map(({ userId }) => userId);
    if (overdue.length > 0 && !this.#isResting(held)) await this.#expire(held, overdue);
    return userIds.length;
  }

  /** Who is offline is looked at when something expires, next: all that waits is kept now. */
  async #keepRecords({ keys }: HeldPartition, woken: readonly WokenUser[]): Promise<void> {
    const users = woken
      .filter(({ outcome }) => outcome !== "done")
      .map(({ userId, outcome }) => ({ userId, minAgeMs: outcome === "offline" ? 0 : YOUNG_MS }));
    await keepRecords(this.#options.scripts, keys, users, this.#options.recordKeepMs);
  }

  #isResting(held: HeldPartition): boolean {
    return this.#options.clock.monotonicMs() < (this.#restUntilMs.get(held) ?? 0);
  }

  /** Where there was more to look at than one call does, the others wait: wakes and acks need Redis, too. */
  async #expire(held: HeldPartition, userIds: readonly string[]): Promise<void> {
    const { scripts, metrics, clock } = this.#options;
    const startMs = clock.monotonicMs();
    const { written, left } = await expireUsers(scripts, held.keys, userIds);
    metrics.expired(written);
    const endMs = clock.monotonicMs();
    if (left > 0) this.#restUntilMs.set(held, endMs + REST_FACTOR * (endMs - startMs));
  }

  /** As `wakeUsers`, but one user's broken keys hold up nobody else. */
  async #wake(
    { keys, token }: HeldPartition,
    userIds: readonly string[],
    nowMs: number,
  ): Promise<WokenUser[] | "stale"> {
    const { scripts, absence, fallbackCap, ackTimeoutMs, logger } = this.#options;
    const wake = (ids: readonly string[]): Promise<WokenUser[] | "stale"> =>
      wakeUsers(scripts, keys, token, { ...absence.rules, fallbackCap, ackTimeoutMs }, ids);
    try {
      return await wake(userIds);
    } catch (error) {
      if (isConnectionError(error)) throw error;
    }
    const woken: WokenUser[] = [];
    for (const userId of userIds) {
      try {
        const result = await wake([userId]);
        if (result === "stale") return result;
        woken.push(...result);
      } catch (error) {
        if (isConnectionError(error)) throw error;
        logger.error({ user: userId, reason: describeError(error) }, "user not woken: looked at again later");
        await postponeUser(scripts.redis, keys, userId, nowMs + POSTPONE_MS);
      }
    }
    return woken;
  }
}
