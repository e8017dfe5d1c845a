// own-partitions -> here -> wake/wake.lua, offer/offer-unreached, expire-users: users whose `due` has come, because
// nobody acknowledged in time or a message has expired.
// Guarantees: each partition's users on a timer, at once again while there are more; rarely while nobody's time is near;
// beside the hand-over, never in its way; fenced, so that a stale owner wakes nobody.
import type { Clock } from "@petrel/shared/kernel/clock";
import { untilCommonTick } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Loop } from "@petrel/shared/kernel/loop";
import { pause } from "@petrel/shared/kernel/pause";
import { keepRecords, YOUNG_MS } from "@petrel/shared/redis/inbox/keep-records";
import { isolateRefused } from "@petrel/shared/redis/scripts/isolate-refused";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import {
  postponeUser,
  readDueUsers,
  readFirstDueMs,
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
import type { WakeMetrics } from "./wake-metrics.js";

export interface UserWakerOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open" | "lose">;
  readonly metrics: WakeMetrics;
  readonly offers: Offers;
  /** See inbox/keep-records. */
  readonly recordKeepMs: number;
  readonly logger: Logger;
  readonly ackTimeoutMs: number;
  readonly intervalMs: number;
  readonly clock: Pick<Clock, "monotonicMs">;
}

/** What one call of the script takes. */
const MAX_USERS = 200;
/** While nobody's time is near, a partition is looked at so often: users may be armed for sooner, and clocks be set. */
const IDLE_MS = 1_000;
/** Nor for longer than this part of what accepting a message arms its user for. */
const IDLE_PARTS = 4;
/** After a look at what has expired that was not complete, none follows for so many times as long as it took. */
const REST_FACTOR = 4;
/** A user whom Redis refuses to work on is looked at again after so long. */
const POSTPONE_MS = 60_000;

/** Why a wake offers, for traces: nobody was there, or somebody was and did not acknowledge in time. */
const reasons: Readonly<Partial<Record<WakeOutcome, string>>> = {
  offline: "unreached",
  unheard: "unreached",
  nudged: "unacknowledged",
};

export class UserWaker {
  readonly #options: UserWakerOptions;
  readonly #loop = new Loop((signal) => this.#wakeAll(signal));
  readonly #restUntilMs = new WeakMap<HeldPartition, number>();
  readonly #nextLookMs = new WeakMap<HeldPartition, number>();
  readonly #underWay = new Map<HeldPartition, Promise<void>>();

  constructor(options: UserWakerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop.start();
  }

  /** Resolves when the batches under way are done. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    await Promise.all(this.#underWay.values());
  }

  async #wakeAll(signal: AbortSignal): Promise<number> {
    const { owner, intervalMs, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const held of owner.open) {
      // A partition with a long backlog goes on by itself; the others keep their rhythm.
      // What is looked at soon is looked at now: one wake-up serves all.
      if (this.#underWay.has(held) || (this.#nextLookMs.get(held) ?? 0) > nowMs + intervalMs) continue;
      this.#underWay.set(held, this.#wakePartition(held, signal));
    }
    const over = new AbortController();
    await Promise.race([Promise.all(this.#underWay.values()), pause(intervalMs, over.signal)]);
    over.abort();
    const { open } = owner;
    // A partition may be taken at any moment.
    const next = open.length === 0 ? 0 : Math.min(...open.map((held) => this.#nextLookMs.get(held) ?? 0));
    return untilCommonTick(Math.max(intervalMs, next - clock.monotonicMs()));
  }

  /** Batch after batch, until one was not full; what fails is tried again at the timer. */
  async #wakePartition(held: HeldPartition, signal: AbortSignal): Promise<void> {
    try {
      let more = true;
      while (more && !signal.aborted) {
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
    const { scripts, owner, metrics, offers } = this.#options;
    const { keys } = held;
    const startMs = Date.now();
    // Asked for each batch: a clock that was set back must not show the same users for ever.
    const [nowMs, firstDueMs] = await Promise.all([
      followTime(this.#options, held),
      readFirstDueMs(scripts.redis, keys),
    ]);
    this.#nextLookMs.delete(held);
    if (nowMs === "stale") {
      owner.lose(held, "the look at the time was refused");
      return 0;
    }
    if (firstDueMs > nowMs) {
      this.#rest(held, firstDueMs - nowMs);
      return 0;
    }
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
    return userIds.length;
  }

  /** @param dueInMs when the time of its first user comes, as far as is known */
  #rest(held: HeldPartition, dueInMs: number): void {
    const { ackTimeoutMs, clock } = this.#options;
    this.#nextLookMs.set(held, clock.monotonicMs() + Math.min(dueInMs, IDLE_MS, ackTimeoutMs / IDLE_PARTS));
  }

  /** A user who is offline is looked at again only when something expires, so all that waits is kept now. */
  async #keepRecords({ keys }: HeldPartition, woken: readonly WokenUser[]): Promise<void> {
    const users = woken
      .filter(({ outcome }) => outcome !== "done")
      .map(({ userId, outcome }) => ({ userId, minAgeMs: outcome === "offline" ? 0 : YOUNG_MS }));
    await keepRecords(this.#options.scripts, keys, users, this.#options.recordKeepMs);
  }

  #isResting(held: HeldPartition): boolean {
    return this.#options.clock.monotonicMs() < (this.#restUntilMs.get(held) ?? 0);
  }

  /** Where one call did not see them all, the rest wait: wakes and acks need Redis too. */
  async #expire(held: HeldPartition, userIds: readonly string[]): Promise<void> {
    const { scripts, metrics, clock } = this.#options;
    const startMs = clock.monotonicMs();
    const { written, left } = await expireUsers(scripts, held.keys, userIds);
    metrics.expired(written);
    const endMs = clock.monotonicMs();
    if (left > 0) this.#restUntilMs.set(held, endMs + REST_FACTOR * (endMs - startMs));
  }

  /**
   * As `wakeUsers`, but one user's broken keys hold up nobody else.
   * @returns undefined where the partition is not this dispatcher's any more
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
      logger.error({ user: userId, reason: describeError(error) }, "user not woken: looked at again later");
      await postponeUser(scripts.redis, keys, userId, nowMs + POSTPONE_MS);
    });
    return results?.flat();
  }
}
