// own-partitions -> here -> schedules/promote-schedules: promotes scheduled messages whose time has come, in the
// partitions owned here.
// Guarantees: in order of time, and by priority while much is due, see choose-due. Fenced. Keeps to a rate that leaves
// Redis room for live traffic: one call per server at a time, then a rest at least as long, and longer while many
// messages wait to be handed over. What Redis cannot store now stays where it is.
import type { Clock } from "@petrel/shared/kernel/clock";
import { untilCommonTick, type CommonTicks } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Loop } from "@petrel/shared/kernel/loop";
import { groupBy } from "@petrel/shared/kernel/group-by";
import { pause } from "@petrel/shared/kernel/pause";
import {
  findDueSchedules,
  isOfTopic,
  postponeSchedule,
  promoteMessages,
  promotePublications,
  type Promotion,
  type PromoteRules,
} from "@petrel/shared/redis/schedules/promote-schedules";
import { isolateRefused } from "@petrel/shared/redis/scripts/isolate-refused";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { HeldPartition } from "../own/held-partition.js";
import type { PartitionOwner } from "../own/own-partitions.js";
import type { PartitionSigns } from "../own/partition-signs.js";
import type { PromotionMetrics } from "./promotion-metrics.js";
import { tracePromotions } from "./trace-promotions.js";

export interface DuePromoterOptions {
  readonly scripts: ScriptRunner;
  readonly owner: Pick<PartitionOwner, "open" | "lose">;
  readonly signs: Pick<PartitionSigns, "read">;
  readonly rules: PromoteRules;
  readonly metrics: PromotionMetrics;
  readonly clock: Pick<Clock, "monotonicMs" | "wallMs">;
  readonly ticks: Pick<CommonTicks, "pause">;
  readonly logger: Logger;
  readonly tracing: Tracing;
}

/** How often a partition is checked, besides when its next message is due. */
const LOOK_MS = 1_000;
/** Messages per call: about two milliseconds of Redis's time. */
const MAX_MESSAGES = 50;
/** The rest after a call, as a multiple of its duration. */
const REST_FACTOR = 1;
/** While this many messages of a partition wait to be handed over, its next call waits. */
const READY_ROOM = 1_000;
const READY_REST_MS = 200;
const RETRY_MS = 500;
/** How long until a message is retried if Redis refuses to work on its recipient's keys. */
const POSTPONE_MS = 60_000;

export class DuePromoter {
  readonly #options: DuePromoterOptions;
  readonly #loop: Loop;
  readonly #nextLookMs = new WeakMap<HeldPartition, number>();
  /** By server: the partitions of one server take turns. */
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(options: DuePromoterOptions) {
    this.#options = options;
    this.#loop = new Loop((signal) => this.#tick(signal), options.ticks);
  }

  start(): void {
    this.#loop.start();
  }

  /** Resolves once the calls in progress have ended. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    await Promise.all(this.#underWay.values());
  }

  /** A server that does not answer does not delay the others. */
  #tick(signal: AbortSignal): Promise<number> {
    const { scripts, owner } = this.#options;
    for (const server of groupBy(owner.open, ({ keys }) => scripts.serverOf(keys.scheduled)).keys()) {
      if (this.#underWay.has(server)) continue;
      const serving = this.#serve(server, signal).finally(() => this.#underWay.delete(server));
      this.#underWay.set(server, serving);
    }
    const waits = owner.open.map((held) => this.#waitOf(held)).filter((waitMs) => waitMs > 0);
    return Promise.resolve(Math.min(LOOK_MS, ...waits));
  }

  #waitOf(held: HeldPartition): number {
    return (this.#nextLookMs.get(held) ?? 0) - this.#options.clock.monotonicMs();
  }

  /** One call for each partition in turn, until none of them has more. */
  async #serve(server: string, signal: AbortSignal): Promise<void> {
    const { scripts, owner, clock } = this.#options;
    const ofServer = (): HeldPartition[] =>
      owner.open.filter(({ keys }) => scripts.serverOf(keys.scheduled) === server);
    await this.#restWhereNothingIsDue(ofServer().filter((held) => this.#waitOf(held) <= 0));
    for (let isBusy = true; isBusy && !signal.aborted;) {
      isBusy = false;
      for (const held of ofServer()) {
        if (signal.aborted || !held.isOpen || this.#waitOf(held) > 0) continue;
        const startMs = clock.monotonicMs();
        const { nextInMs, calls } = await this.#look(held);
        const endMs = clock.monotonicMs();
        this.#nextLookMs.set(held, endMs + untilCommonTick(nextInMs, endMs));
        isBusy ||= nextInMs === 0;
        if (calls > 0) await pause(Math.ceil(REST_FACTOR * (endMs - startMs)), signal);
      }
    }
  }

  /**
   * Usually nothing is due: then one write and one answer serve all partitions, and an idle process is not woken once
   * for each. If anything is due, or cannot be read, `#look` finds it again.
   */
  async #restWhereNothingIsDue(partitions: readonly HeldPartition[]): Promise<void> {
    const { scripts, signs, clock } = this.#options;
    const looks = await Promise.allSettled(
      scripts.together(() => partitions.map((held) => signs.read(held))),
    );
    const nowMs = clock.monotonicMs();
    for (const [i, held] of partitions.entries()) {
      const look = looks[i];
      if (look?.status !== "fulfilled" || look.value === "stale") continue;
      const waitMs = look.value.firstScheduledMs - look.value.nowMs;
      if (waitMs <= 0) continue;
      const nextInMs = restOf(waitMs);
      this.#nextLookMs.set(held, nowMs + untilCommonTick(nextInMs, nowMs));
    }
  }

  async #look(held: HeldPartition): Promise<Look> {
    const { logger } = this.#options;
    let look: Look = { nextInMs: RETRY_MS, calls: 0 };
    try {
      await held.runStep(async () => {
        look = await this.#promoteSome(held);
      });
    } catch (error) {
      const { partition } = held.keys;
      logger.warn({ partition, reason: describeError(error) }, "schedules not promoted: trying again");
    }
    return look;
  }

  async #promoteSome(held: HeldPartition): Promise<Look> {
    const { scripts, owner, rules, metrics, clock, tracing } = this.#options;
    const { keys, token } = held;
    const { members, nextInMs, nowMs } = await findDueSchedules(scripts, keys, MAX_MESSAGES);
    if (members.length === 0) return { nextInMs: restOf(nextInMs), calls: 0 };
    const forTopics = members.filter(isOfTopic);
    const forUsers = members.filter((member) => !isOfTopic(member));
    let [isLeft, ready, calls] = [members.length === MAX_MESSAGES, 0, 0];
    for (const [some, promote] of [
      [forUsers, promoteMessages],
      [forTopics, promotePublications],
    ] as const) {
      if (some.length === 0 || !held.isHeld) continue;
      calls++;
      const promotions = await this.#isolate(held, some, nowMs, async (part) => {
        const startMs = clock.wallMs();
        const promotion = await promote(scripts, keys, token, rules, part);
        if (typeof promotion !== "string") {
          const { partition } = keys;
          tracePromotions(tracing, { partition, startMs, members: part }, promotion.results);
        }
        return promotion;
      });
      for (const promotion of promotions) {
        if (promotion === "stale") {
          owner.lose(held, "a promotion was refused");
          return { nextInMs: RETRY_MS, calls };
        }
        if (promotion === "busy") return { nextInMs: RETRY_MS, calls };
        metrics.promoted(promotion.results);
        ready = Math.max(ready, promotion.ready);
        isLeft ||= promotion.results.some(({ outcome }) => outcome === "left");
      }
    }
    if (!isLeft) return { nextInMs: restOf(nextInMs), calls };
    return { nextInMs: ready > READY_ROOM ? READY_REST_MS : 0, calls };
  }

  /** One recipient's broken keys do not block the others. */
  async #isolate(
    { keys }: HeldPartition,
    members: readonly string[],
    nowMs: number,
    promote: (members: readonly string[]) => Promise<Promotion | "busy" | "stale">,
  ): Promise<(Promotion | "busy" | "stale")[]> {
    const { scripts, metrics, logger } = this.#options;
    const promotions = await isolateRefused(members, promote, async ([member = ""], error) => {
      logger.error({ member, reason: describeError(error) }, "schedule not promoted: trying again later");
      metrics.refused();
      await postponeSchedule(scripts, keys, member, nowMs + POSTPONE_MS);
    });
    return promotions ?? [];
  }
}

interface Look {
  readonly nextInMs: number;
  /** Calls that promoted something. */
  readonly calls: number;
}

/** @param nextInMs when the next message is due, if known */
function restOf(nextInMs = LOOK_MS): number {
  return Math.max(1, Math.min(nextInMs, LOOK_MS));
}
