// Any route or socket -> here -> ask-windows: how much a key, a user or an address may take in a window.
// Guarantees: never more than the limit in any window, over all processes, as long as Redis answers, however slowly, up
// to a bound. If it does not, this process never admits more than its share, and tells Redis when it answers again
// (docs/send/limits.md). A take is charged whole or not at all. A refused flood costs no call, and a busy key costs one
// call per share of its limit. Memory is bounded.
import { type Clock, systemClock } from "../../kernel/clock.js";
import type { LimitDecision } from "../../kernel/limits/limit-decision.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { RecentMap } from "../../kernel/recent-map.js";
import { admissibleAtMs, subWindowMs } from "../../kernel/limits/window-ring.js";
import {
  MAX_TAKES,
  type WindowAnswer,
  WindowAsker,
  type WindowQuestion,
  type WindowScripts,
} from "./ask-windows.js";
import { AloneCount, sumOf, type TakenPart } from "./count-alone.js";
import { LimitCounts, type LimitCountsOf } from "./limit-counts.js";
import { TakenAhead } from "./take-ahead.js";

export type { LimitDecision } from "../../kernel/limits/limit-decision.js";

export interface SlidingWindowLimiterOptions {
  readonly scripts: WindowScripts;
  /** Names the limit in Redis and in metrics: lower-case letters and hyphens. */
  readonly name: string;
  /** How much may be taken in a window, unless `take` gives another limit; 0 means no limit. */
  readonly limit: number;
  readonly windowMs: number;
  /** The share of the limit that may be taken in advance for a busy key; without it, Redis is asked for each take. */
  readonly prepaid?: number;
  /** The shortest deadline for Redis's answer, ms; longer for a Redis that is always slow. */
  readonly deadlineMs?: number;
  /** How many keys are remembered. */
  readonly maxKeys?: number;
  readonly counts?: LimitCounts;
  readonly logger?: Pick<Logger, "warn" | "info">;
  readonly clock?: Clock;
}

export const DEFAULT_DEADLINE_MS = 250;
export const DEFAULT_MAX_KEYS = 20_000;

interface WaitingTake {
  readonly count: number;
  readonly limit: number;
  readonly resolve: (decision: LimitDecision) => void;
}

/** A call about a key, while in progress and after it was given up. */
interface KeyAsk {
  takes: readonly WaitingTake[];
  limit: number;
  askedAtMs: number;
  /** What it reports to Redis. */
  told: readonly TakenPart[];
  /** After it was given up: which of its takes this process admitted by itself, and when. */
  admitted: readonly boolean[];
  givenUpAtMs: number;
}

interface KeyState {
  readonly key: string;
  readonly ahead: TakenAhead;
  /** Redis's last answer, and what was admitted without Redis. */
  readonly alone: AloneCount;
  /** Whether Redis refused in its last answer. */
  wasFull: boolean;
  answeredAskAtMs: number;
  waiting: WaitingTake[];
  /** Calls that wait for their turn, and those in progress. */
  queued: number;
  underWay: number;
  isTelling: boolean;
}

const unlimited: LimitDecision = Object.freeze({
  allowed: true,
  limit: 0,
  remaining: Number.POSITIVE_INFINITY,
  resetMs: 0,
});

export class SlidingWindowLimiter {
  readonly #limit: number;
  readonly #windowMs: number;
  readonly #prepaid: number;
  readonly #lotMs: number;
  readonly #clock: Clock;
  readonly #counts: LimitCountsOf;
  readonly #asker: WindowAsker;
  readonly #keys: RecentMap<KeyState>;

  constructor(options: SlidingWindowLimiterOptions) {
    const { scripts, name, limit, windowMs, prepaid = 0, clock = systemClock, logger } = options;
    const { deadlineMs = DEFAULT_DEADLINE_MS, maxKeys = DEFAULT_MAX_KEYS } = options;
    this.#limit = limit;
    this.#windowMs = windowMs;
    this.#prepaid = prepaid;
    this.#lotMs = subWindowMs(windowMs);
    this.#clock = clock;
    this.#counts = (options.counts ?? new LimitCounts()).of(name);
    this.#asker = new WindowAsker({
      scripts,
      name,
      windowMs,
      // What is taken in advance is handed out up to a sub-window later, so it counts for that much longer.
      longer: prepaid > 0 ? 1 : 0,
      deadlineMs,
      logger,
      clock,
      counts: this.#counts,
    });
    this.#keys = new RecentMap(maxKeys);
  }

  /**
   * Takes `count` whole, or nothing of it. Never rejects.
   * @param limit replaces the limiter's own, for a key that has one; 0 means no limit
   * @returns synchronously if Redis need not be asked
   */
  take(key: string, count = 1, limit: number = this.#limit): LimitDecision | Promise<LimitDecision> {
    if (limit <= 0) return unlimited;
    if (count > limit) return this.#refuse(limit, Number.POSITIVE_INFINITY, true);
    const nowMs = this.#clock.monotonicMs();
    const known = this.refusal(key, count, limit, nowMs);
    if (known !== undefined) return known;
    const state = this.#stateOf(key);
    state.ahead.noteSpent(count, nowMs, this.#lotMs);
    const given = this.#giveAhead(state, count, limit, nowMs);
    if (given !== undefined) return given;
    if (this.#asker.isSilent(key)) {
      const decision = this.#decideAlone(state, count, limit, nowMs);
      // Probe without waiting for the answer.
      if (this.#asker.isTrialDue(key, nowMs)) this.#ask(state, limit);
      return decision;
    }
    return new Promise((resolve) => {
      state.waiting.push({ count, limit, resolve });
      this.#ask(state);
    });
  }

  /** Whether this would certainly be refused, by what is known here; takes nothing. */
  refusal(
    key: string,
    count = 1,
    limit: number = this.#limit,
    nowMs: number = this.#clock.monotonicMs(),
  ): LimitDecision | undefined {
    if (limit <= 0) return undefined;
    const state = this.#keys.get(key);
    if (state === undefined || !state.wasFull) return undefined;
    // A lower bound: others may have taken since. Redis is asked again then.
    const waitMs = admissibleAtMs(state.alone.seen, limit, count) - nowMs;
    if (waitMs > 0 && state.ahead.left(nowMs) < count) return this.#refuse(limit, waitMs, true);
    return undefined;
  }

  #stateOf(key: string): KeyState {
    const known = this.#keys.get(key);
    if (known !== undefined) return known;
    const state: KeyState = {
      key,
      ahead: new TakenAhead(),
      alone: new AloneCount(this.#windowMs),
      wasFull: false,
      answeredAskAtMs: Number.NEGATIVE_INFINITY,
      waiting: [],
      queued: 0,
      underWay: 0,
      isTelling: false,
    };
    this.#keys.set(key, state);
    return state;
  }

  #giveAhead(state: KeyState, count: number, limit: number, nowMs: number): LimitDecision | undefined {
    const { key, ahead } = state;
    const decision = ahead.give(count, nowMs);
    if (decision === undefined) return undefined;
    const size = this.#lotSize(state, limit);
    if (size > 0 && ahead.left(nowMs) * 2 <= size && !this.#asker.isSilent(key)) this.#ask(state, limit);
    return decision;
  }

  /** @param refillLimit for a call that nobody waits for; takes that arrive meanwhile use the rest of the lots */
  #ask(state: KeyState, refillLimit = 0): void {
    // One at a time, unless enough are waiting to fill another.
    const { queued, underWay, waiting } = state;
    if (queued + underWay > 0 && waiting.length < MAX_TAKES * (queued + 1)) return;
    state.queued++;
    const asked: KeyAsk = {
      takes: [],
      limit: refillLimit,
      askedAtMs: 0,
      told: [],
      admitted: [],
      givenUpAtMs: 0,
    };
    this.#asker.ask({
      key: state.key,
      ask: () => this.#compose(state, asked),
      answered: (answer) => {
        state.underWay--;
        if (asked.told.length > 0) state.isTelling = false;
        if (answer === undefined) this.#giveUp(state, asked);
        else this.#settle(state, asked, answer);
        if (state.waiting.length > 0) this.#ask(state);
      },
      answeredLate: (answer) => this.#settleLate(state, asked, answer),
    });
  }

  #compose(state: KeyState, asked: KeyAsk): WindowQuestion {
    const nowMs = this.#clock.monotonicMs();
    state.queued--;
    state.underWay++;
    asked.takes = state.waiting.splice(0, MAX_TAKES);
    asked.limit = asked.takes[0]?.limit ?? asked.limit;
    asked.askedAtMs = nowMs;
    if (!state.isTelling) {
      asked.told = state.alone.untold(nowMs);
      state.isTelling = asked.told.length > 0;
    }
    return {
      key: state.key,
      limit: asked.limit,
      reported: sumOf(asked.told),
      extra:
        state.underWay > 1 ? 0 : Math.max(0, this.#lotSize(state, asked.limit) - state.ahead.left(nowMs)),
      takes: asked.takes.map(({ count }) => count),
    };
  }

  #settle(state: KeyState, asked: KeyAsk, answer: WindowAnswer): void {
    const nowMs = this.#clock.monotonicMs();
    const { answers, used, shares } = answer;
    const { limit } = asked;
    this.#noteAnswer(state, asked, answer, nowMs);
    const resetMs = Math.max(0, (shares.at(-1)?.leavesAtMs ?? nowMs) - nowMs);
    const remaining = Math.max(0, limit - used);
    const decision: LimitDecision = Object.freeze({ allowed: true, limit, remaining, resetMs });
    this.#keepLot(state, asked, answer, decision);
    for (const [i, { count, limit: its, resolve }] of asked.takes.entries()) {
      if (answers[i] === "+") resolve(decision);
      else resolve(this.#refuse(its, Math.max(1, admissibleAtMs(shares, its, count) - nowMs), false));
    }
  }

  #keepLot(state: KeyState, asked: KeyAsk, { extra }: WindowAnswer, decision: LimitDecision): void {
    if (extra > 0) state.ahead.add(extra, asked.askedAtMs + this.#lotMs, decision);
  }

  /** What Redis had counted stays, whatever it answers; it learns later what was admitted here. */
  #giveUp(state: KeyState, asked: KeyAsk): void {
    const nowMs = this.#clock.monotonicMs();
    asked.givenUpAtMs = nowMs;
    asked.admitted = asked.takes.map(({ count, limit, resolve }) => {
      const decision = this.#decideAlone(state, count, limit, nowMs);
      resolve(decision);
      return decision.allowed;
    });
  }

  /** The decision stands. What Redis granted, or was told, need not be reported again. */
  #settleLate(state: KeyState, asked: KeyAsk, answer: WindowAnswer): void {
    const nowMs = this.#clock.monotonicMs();
    this.#noteAnswer(state, asked, answer, nowMs);
    let granted = 0;
    for (const [i, { count }] of asked.takes.entries()) {
      if (answer.answers[i] === "+" && asked.admitted[i] === true) granted += count;
    }
    if (granted > 0) state.alone.forget([{ atMs: asked.givenUpAtMs, count: granted }], nowMs);
  }

  #noteAnswer(state: KeyState, asked: KeyAsk, answer: WindowAnswer, nowMs: number): void {
    const { answers, extra, used, shares } = answer;
    const { alone } = state;
    alone.forget(asked.told, nowMs);
    let granted = extra + sumOf(asked.told);
    for (const [i, { count }] of asked.takes.entries()) if (answers[i] === "+") granted += count;
    alone.noteGiven(granted, used, nowMs);
    // An answer that was overtaken by a newer one is out of date.
    if (asked.askedAtMs < state.answeredAskAtMs) return;
    state.answeredAskAtMs = asked.askedAtMs;
    state.wasFull = answers.includes("-");
    alone.seen = shares;
  }

  /** Smaller if Redis's usual answer time leaves less time to hand it out. */
  #lotSize({ key, ahead }: KeyState, limit: number): number {
    if (this.#prepaid === 0 || !ahead.isBusy) return 0;
    return ahead.nextSize(limit * this.#prepaid, 1 - this.#asker.usualMs(key) / this.#lotMs);
  }

  /** As Redis would, by its last answer, but only for this process's share. */
  #decideAlone({ alone }: KeyState, count: number, limit: number, nowMs: number): LimitDecision {
    const remaining = alone.take(count, limit, nowMs);
    if (remaining === undefined) return this.#refuse(limit, alone.waitMs(count, limit, nowMs), true);
    return { allowed: true, limit, remaining, resetMs: this.#windowMs };
  }

  #refuse(limit: number, retryAfterMs: number, isLocal: boolean): LimitDecision {
    this.#counts.refusals++;
    if (isLocal) this.#counts.local_refusals++;
    return { allowed: false, limit, remaining: 0, retryAfterMs };
  }
}
