// own-partitions -> here -> wake/wake.lua, offer/offer-unreached, expire-users: users whose `due` has come, because
// nobody acknowledged in time or a message has expired.
// Guarantees: visits each partition's due users on a timer, at once again while there are more, and rarely while nobody
// is due soon. Runs beside the hand-over without delaying it. Fenced: a stale owner wakes nobody.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { keepRecords, YOUNG_MS } from "@petrel/shared/redis/inbox/keep-records";
import { isolateRefused } from "@petrel/shared/redis/scripts/isolate-refused";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import {
  postponeUser,
  readDueUsers,
  wakeUsers,
  type WakeOutcome,
  type WokenUser,
} from "@petrel/shared/redis/wake/wake-users";
import { expireUsers } from "./expire-users.js";
import { followTime } from "./follow-time.js";
import type { HeldPartition } from "../own/held-partition.js";
import { offerUnreached, type Offers } from "../offer/offer-unreached.js";
import { reportOffers } from "../offer/report-offers.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import { PartitionLooks } from "../own/partition-looks.js";
import type { PartitionSigns } from "../own/partition-signs.js";
import type { WakeMetrics } from "./wake-metrics.js";

export interface UserWakerOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open" | "lose">;
  readonly signs: Pick<PartitionSigns, "read">;
  readonly metrics: WakeMetrics;
  readonly offers: Offers;
  /** See inbox/keep-records. */
  readonly recordKeepMs: number;
  readonly logger: Logger;
  readonly ackTimeoutMs: number;
  readonly intervalMs: number;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly ticks: Pick<CommonTicks, "pause">;
}

/** The most users per call of the script. */
const MAX_USERS = 200;
/** How often a partition is checked while nobody is due soon: users may become due sooner, and clocks may be set. */
const IDLE_MS = 1_000;
/** And at least this often within an acknowledgement timeout, which accepting a message sets for its user. */
const IDLE_PARTS = 4;
/** The rest after an incomplete look at expired messages, as a multiple of its duration. */
const REST_FACTOR = 4;
/** How long until a user is visited again if Redis refuses to work on their keys. */
const POSTPONE_MS = 60_000;

/** Why a wake makes an offer, for traces: nobody was there, or somebody was and did not acknowledge in time. */
const reasons: Readonly<Partial<Record<WakeOutcome, string>>> = {
  offline: "unreached",
  unheard: "unreached",
  nudged: "unacknowledged",
};

export class UserWaker {
  readonly #options: UserWakerOptions;
  readonly #looks: PartitionLooks;
  readonly #restUntilMs = new WeakMap<HeldPartition, number>();

  constructor(options: UserWakerOptions) {
    this.#options = options;
    this.#looks = new PartitionLooks({
      ...options,
      everyMs: options.intervalMs,
      retryMs: 0,
      failed: "users not woken",
      look: (held, signal) => this.#wakePartition(held, signal),
    });
  }

  start(): void {
    this.#looks.start();
  }

  /** Resolves once the batches in progress are done. */
  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /**
   * Runs batches until one was not full: a partition with a long backlog continues by itself, and the others keep their
   * rhythm.
   * @returns the wait before the next look
   */
  async #wakePartition(held: HeldPartition, signal: AbortSignal): Promise<number> {
    let next: number | "at once" = "at once";
    while (next === "at once" && !signal.aborted) {
      next = 0;
      await held.runStep(async () => {
        next = await this.#wakeBatch(held);
      });
    }
    return next === "at once" ? 0 : next;
  }

  /** @returns the wait before the next look, ms */
  async #wakeBatch(held: HeldPartition): Promise<number | "at once"> {
    const { scripts, owner, signs, metrics, offers, ackTimeoutMs } = this.#options;
    const { keys } = held;
    const startMs = Date.now();
    // Read for each batch, so that a clock that was set back does not return the same users forever.
    const found = await signs.read(held);
    const nowMs = found === "stale" ? found : await followTime(this.#options, held, found);
    if (found === "stale" || nowMs === "stale") {
      owner.lose(held, "the look at the time was refused");
      return 0;
    }
    const { firstDueMs } = found;
    if (firstDueMs > nowMs) return Math.min(firstDueMs - nowMs, IDLE_MS, ackTimeoutMs / IDLE_PARTS);
    const userIds = await readDueUsers(scripts.redis, keys, nowMs, MAX_USERS);
    if (userIds.length === 0 || !held.isHeld) return 0;
    const woken = await this.#wake(held, userIds, nowMs);
    if (woken === undefined) {
      owner.lose(held, "the wake was refused");
      return 0;
    }
    for (const { outcome } of woken) metrics.woken(outcome);
    const call = { partition: keys.partition, startMs };
    reportOffers(offers.reports, call, woken, ({ outcome }) => reasons[outcome] ?? outcome);
    const unheard = woken.filter(({ outcome }) => outcome === "unheard");
    if (unheard.length > 0 && !(await offerUnreached(offers, held, unheard))) {
      owner.lose(held, "the offer was refused");
      return 0;
    }
    await this.#keepRecords(held, woken);
    const overdue = woken.filter(({ expire }) => expire).map(({ userId }) => userId);
    if (overdue.length > 0 && !this.#isResting(held)) await this.#expire(held, overdue);
    return userIds.length === MAX_USERS ? "at once" : 0;
  }

  /** An offline user is visited again only when something expires, so renew all waiting records now. */
  async #keepRecords({ keys }: HeldPartition, woken: readonly WokenUser[]): Promise<void> {
    const users = woken
      .filter(({ outcome }) => outcome !== "done")
      .map(({ userId, outcome }) => ({ userId, minAgeMs: outcome === "offline" ? 0 : YOUNG_MS }));
    await keepRecords(this.#options.scripts, keys, users, this.#options.recordKeepMs);
  }

  #isResting(held: HeldPartition): boolean {
    return this.#options.clock.monotonicMs() < (this.#restUntilMs.get(held) ?? 0);
  }

  /** If one call did not cover everybody, the rest wait, because wakes and acks need Redis too. */
  async #expire(held: HeldPartition, userIds: readonly string[]): Promise<void> {
    const { scripts, metrics, clock } = this.#options;
    const startMs = clock.monotonicMs();
    const { written, left } = await expireUsers(scripts, held.keys, userIds);
    metrics.expired(written);
    const endMs = clock.monotonicMs();
    if (left > 0) this.#restUntilMs.set(held, endMs + REST_FACTOR * (endMs - startMs));
  }

  /**
   * Like `wakeUsers`, but one user's broken keys do not block the others.
   * @returns undefined if this dispatcher no longer owns the partition
   */
  async #wake(
    { keys, token }: HeldPartition,
    userIds: readonly string[],
    nowMs: number,
  ): Promise<WokenUser[] | undefined> {
    const { scripts, offers, ackTimeoutMs, logger } = this.#options;
    const { absence, fallbackCap } = offers;
    const wake = async (ids: readonly string[]): Promise<WokenUser[] | undefined> => {
      const rules = { ...absence.rules, fallbackCap, ackTimeoutMs };
      const woken = await wakeUsers(scripts, keys, token, rules, ids);
      return woken === "stale" ? undefined : woken;
    };
    const results = await isolateRefused(userIds, wake, async ([userId = ""], error) => {
      logger.error({ user: userId, reason: describeError(error) }, "user not woken: trying again later");
      await postponeUser(scripts.redis, keys, userId, nowMs + POSTPONE_MS);
    });
    return results?.flat();
  }
}
