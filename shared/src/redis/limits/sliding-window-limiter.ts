// Any route or socket -> here -> ask-windows: how much a key, a user or an address may take in a time.
// Guarantees: never more than the limit in any window, over all processes, as long as Redis answers; then never more
// than the limit by this process (docs/send/limits.md); a take is charged whole or not at all; a flood that is refused costs
// no call, and a busy key one per share of its limit; bounded memory.
import { type Clock, systemClock } from "../../kernel/clock.js";
import type { LimitDecision } from "../../kernel/limits/limit-decision.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { RecentMap } from "../../kernel/recent-map.js";
import {
  admissibleAtMs,
  subWindowMs,
  WindowRing,
  type WindowShare,
} from "../../kernel/limits/window-ring.js";
import { MAX_TAKES, type WindowAnswer, WindowAsker, type WindowQuestion } from "./ask-windows.js";
import { LimitCounts, type LimitCountsOf } from "./limit-counts.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export type { LimitDecision } from "../../kernel/limits/limit-decision.js";

export interface SlidingWindowLimiterOptions {
  readonly scripts: Pick<ScriptRunner, "run" | "together">;
  /** Names the limit in Redis and in the metrics: lower-case letters and hyphens. */
  readonly name: string;
  /** How much may be taken in a window, where `take` is given no other; 0: no limit. */
  readonly limit: number;
  readonly windowMs: number;
  /** The share of the limit that may be taken ahead for a busy key; without it each take is asked for. */
  readonly prepaid?: number;
  /** How long Redis may take to answer, ms. */
  readonly deadlineMs?: number;
  /** Keys about which something is remembered. */
  readonly maxKeys?: number;
  readonly counts?: LimitCounts;
  readonly logger?: Pick<Logger, "warn" | "info">;
  readonly clock?: Clock;
}

export const DEFAULT_DEADLINE_MS = 250;
export const DEFAULT_MAX_KEYS = 20_000;

/** Takes in a sub-window's time from which on something is taken ahead: fewer might come too late to use it. */
const BUSY_TAKES = 4;

interface WaitingTake {
  readonly count: number;
  readonly limit: number;
  readonly resolve: (decision: LimitDecision) => void;
}

/** Taken ahead: may be given out until its time is over. */
interface Lot {
  left: number;
  readonly untilMs: number;
  readonly decision: LimitDecision;
}

interface KeyState {
  readonly key: string;
  /** Oldest first; at most two. */
  lots: Lot[];
  /** What stood in the window when Redis last refused. */
  full: readonly WindowShare[];
  waiting: WaitingTake[];
  isAsking: boolean;
  /** How much was asked for, and how often, in this sub-window's time and in the one before. */
  spent: number;
  spentBefore: number;
  takes: number;
  takesBefore: number;
  spentFromMs: number;
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
  readonly #alone: RecentMap<WindowRing>;

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
      // What is taken ahead is given out up to a sub-window later: it counts for so much longer.
      longer: prepaid > 0 ? 1 : 0,
      deadlineMs,
      logger,
      clock,
      counts: this.#counts,
    });
    this.#keys = new RecentMap(maxKeys);
    this.#alone = new RecentMap(maxKeys);
  }

  /**
   * Takes `count` whole, or nothing of it. Never rejects.
   * @param limit instead of the limiter's own, for a key that has one; 0: no limit
   * @returns at once where nothing must be asked
   */
  take(key: string, count = 1, limit: number = this.#limit): LimitDecision | Promise<LimitDecision> {
    if (limit <= 0) return unlimited;
    if (count > limit) return this.#refuse(limit, Number.POSITIVE_INFINITY, true);
    const nowMs = this.#clock.monotonicMs();
    const known = this.refusal(key, count, limit, nowMs);
    if (known !== undefined) return known;
    const state = this.#stateOf(key);
    this.#noteSpent(state, count, nowMs);
    const given = this.#giveFromLots(state, count, limit, nowMs);
    if (given !== undefined) return given;
    if (this.#asker.isSilent(nowMs)) return this.#decideAlone(key, count, limit, nowMs);
    return new Promise((resolve) => {
      state.waiting.push({ count, limit, resolve });
      this.#ask(state);
    });
  }

  /** Whether so much would be refused for sure, as far as is known here; takes nothing. */
  refusal(
    key: string,
    count = 1,
    limit: number = this.#limit,
    nowMs: number = this.#clock.monotonicMs(),
  ): LimitDecision | undefined {
    if (limit <= 0) return undefined;
    const state = this.#keys.get(key);
    if (state === undefined || state.full.length === 0) return undefined;
    // Others may have taken since: then it is later still, and asked for again when this time has come.
    const waitMs = admissibleAtMs(state.full, limit, count) - nowMs;
    if (waitMs > 0 && leftIn(state.lots, nowMs) < count) return this.#refuse(limit, waitMs, true);
    return undefined;
  }

  #stateOf(key: string): KeyState {
    const known = this.#keys.get(key);
    if (known !== undefined) return known;
    const state: KeyState = {
      key,
      lots: [],
      full: [],
      waiting: [],
      isAsking: false,
      spent: 0,
      spentBefore: 0,
      takes: 0,
      takesBefore: 0,
      spentFromMs: Number.NEGATIVE_INFINITY,
    };
    this.#keys.set(key, state);
    return state;
  }

  #giveFromLots(state: KeyState, count: number, limit: number, nowMs: number): LimitDecision | undefined {
    const { lots } = state;
    if (lots.length === 0) return undefined;
    if (lots.some((lot) => lot.left === 0 || lot.untilMs <= nowMs)) {
      state.lots = lots.filter((lot) => lot.left > 0 && lot.untilMs > nowMs);
    }
    const left = leftIn(state.lots, nowMs);
    const decision = state.lots[0]?.decision;
    if (decision === undefined || left < count) return undefined;
    takeFromLots(state.lots, count);
    const size = this.#lotSize(state, limit);
    if (size > 0 && (left - count) * 2 <= size && !this.#asker.isSilent(nowMs)) this.#ask(state, limit);
    return decision;
  }

  /** @param refillLimit where nobody waits: whoever takes meanwhile has the rest of the lots */
  #ask(state: KeyState, refillLimit = 0): void {
    if (state.isAsking) return;
    state.isAsking = true;
    let asked: readonly WaitingTake[] = [];
    let limit = refillLimit;
    let askedAtMs = 0;
    const ask = (): WindowQuestion => {
      asked = state.waiting.splice(0, MAX_TAKES);
      limit = asked[0]?.limit ?? refillLimit;
      askedAtMs = this.#clock.monotonicMs();
      const extra = Math.max(0, this.#lotSize(state, limit) - leftIn(state.lots, askedAtMs));
      return { key: state.key, limit, reported: 0, extra, takes: asked.map(({ count }) => count) };
    };
    this.#asker.ask(ask, (answer) => {
      state.isAsking = false;
      this.#settle(state, asked, limit, askedAtMs + this.#lotMs, answer);
      if (state.waiting.length > 0) this.#ask(state);
    });
  }

  /** @param lotUntilMs until when what was taken ahead may be given out */
  #settle(
    state: KeyState,
    asked: readonly WaitingTake[],
    limit: number,
    lotUntilMs: number,
    answer: WindowAnswer | undefined,
  ): void {
    const nowMs = this.#clock.monotonicMs();
    if (answer === undefined) {
      for (const { count, limit: its, resolve } of asked) {
        resolve(this.#decideAlone(state.key, count, its, nowMs));
      }
      return;
    }
    const { answers, extra, used, shares } = answer;
    const resetMs = Math.max(0, (shares.at(-1)?.leavesAtMs ?? nowMs) - nowMs);
    const remaining = Math.max(0, limit - used);
    const decision: LimitDecision = Object.freeze({ allowed: true, limit, remaining, resetMs });
    const isRefused = answers.includes("-");
    state.full = isRefused ? shares : [];
    if (extra > 0) state.lots.push({ left: extra, untilMs: lotUntilMs, decision });
    for (const [i, { count, limit: its, resolve }] of asked.entries()) {
      if (answers[i] === "+") resolve(decision);
      else resolve(this.#refuse(its, Math.max(1, admissibleAtMs(shares, its, count) - nowMs), false));
    }
  }

  /** As much as half a sub-window's time will need, going by the one before: so it is used up before it is worthless. */
  #lotSize({ spentBefore, takesBefore }: KeyState, limit: number): number {
    if (takesBefore < BUSY_TAKES) return 0;
    return Math.min(Math.floor(limit * this.#prepaid), Math.floor(spentBefore / 2));
  }

  #noteSpent(state: KeyState, count: number, nowMs: number): void {
    const elapsedMs = nowMs - state.spentFromMs;
    if (elapsedMs >= this.#lotMs) {
      const isNext = elapsedMs < 2 * this.#lotMs;
      state.spentBefore = isNext ? state.spent : 0;
      state.takesBefore = isNext ? state.takes : 0;
      state.spentFromMs = isNext ? state.spentFromMs + this.#lotMs : nowMs;
      state.spent = 0;
      state.takes = 0;
    }
    state.spent += count;
    state.takes++;
  }

  #decideAlone(key: string, count: number, limit: number, nowMs: number): LimitDecision {
    let ring = this.#alone.get(key);
    if (ring === undefined) {
      ring = new WindowRing(this.#windowMs);
      this.#alone.set(key, ring);
    }
    if (!ring.take(count, limit, nowMs)) return this.#refuse(limit, ring.waitMs(count, limit, nowMs), true);
    return { allowed: true, limit, remaining: limit - ring.usedAt(nowMs), resetMs: this.#windowMs };
  }

  #refuse(limit: number, retryAfterMs: number, isLocal: boolean): LimitDecision {
    this.#counts.refusals++;
    if (isLocal) this.#counts.local_refusals++;
    return { allowed: false, limit, remaining: 0, retryAfterMs };
  }
}

function leftIn(lots: readonly Lot[], nowMs: number): number {
  let left = 0;
  for (const lot of lots) if (lot.untilMs > nowMs) left += lot.left;
  return left;
}

/** @param count no more than is left in them */
function takeFromLots(lots: readonly Lot[], count: number): void {
  let rest = count;
  for (const lot of lots) {
    const part = Math.min(lot.left, rest);
    lot.left -= part;
    rest -= part;
  }
}
