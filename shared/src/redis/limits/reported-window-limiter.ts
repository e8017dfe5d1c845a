// A frame of a socket -> here -> ask-windows: a limit for a hot path that rarely reaches it.
// Guarantees: a take is decided at once and allocates nothing; memory is bounded. This process alone never admits more
// than the limit plus its share. All processes together exceed the limit by as much as docs/send/limits.md says,
// because each reports to Redis afterwards, once per half of its share. A key that recently exceeded the limit gets
// from each process only that process's part of it. So a flood at several processes passes once, before Redis has
// answered, and not in every window.
import { type Clock, systemClock } from "../../kernel/clock.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { RecentMap } from "../../kernel/recent-map.js";
import { admissibleAtMs, usedAt, WindowRing, type WindowShare } from "../../kernel/limits/window-ring.js";
import { type WindowAnswer, WindowAsker, type WindowQuestion, type WindowScripts } from "./ask-windows.js";
import { LimitCounts, type LimitCountsOf } from "./limit-counts.js";
import { DEFAULT_DEADLINE_MS, DEFAULT_MAX_KEYS } from "./sliding-window-limiter.js";

export interface ReportedWindowLimiterOptions {
  readonly scripts: WindowScripts;
  /** Names the limit in Redis and in metrics: lower-case letters and hyphens. */
  readonly name: string;
  /** How much may be taken in a window; 0 means no limit. */
  readonly limit: number;
  readonly windowMs: number;
  /** The share of the limit that this process may take in a window without telling Redis. Default 0.1. */
  readonly askFrom?: number;
  /** The shortest deadline for Redis's answer, ms; longer for a Redis that is always slow. */
  readonly deadlineMs?: number;
  /** How many keys are remembered. */
  readonly maxKeys?: number;
  readonly counts?: LimitCounts;
  readonly logger?: Pick<Logger, "warn" | "info">;
  readonly clock?: Clock;
}

/** For how many windows after exceeding the limit a key gets from each process only that process's part. */
const WATCHED_WINDOWS = 10;

interface KeyState {
  /** Taken and not reported. A leaky bucket, so a key that stays below the share is never asked about. */
  level: number;
  levelAtMs: number;
  isAsking: boolean;
  refusedUntilMs: number;
  /** Everything taken here since the key was first asked about. */
  ring: WindowRing | undefined;
  /** What was reported to Redis, until Redis no longer counts it. */
  told: WindowShare[];
  /** How much may be taken here per window until `partUntilMs`. */
  part: number;
  partUntilMs: number;
}

export class ReportedWindowLimiter {
  readonly #limit: number;
  readonly #windowMs: number;
  readonly #halfShare: number;
  readonly #leastPart: number;
  readonly #clock: Clock;
  readonly #counts: LimitCountsOf;
  readonly #asker: WindowAsker;
  readonly #keys: RecentMap<KeyState>;

  constructor(options: ReportedWindowLimiterOptions) {
    const { scripts, name, limit, windowMs, askFrom = 0.1, clock = systemClock, logger } = options;
    const { deadlineMs = DEFAULT_DEADLINE_MS, maxKeys = DEFAULT_MAX_KEYS } = options;
    this.#limit = limit;
    this.#windowMs = windowMs;
    // One half may be full already, and another half leaks away during a window: together never more than the share.
    this.#halfShare = (limit * askFrom) / 2;
    // Equals what is reported before it is used up.
    this.#leastPart = Math.ceil(limit * askFrom);
    this.#clock = clock;
    this.#counts = (options.counts ?? new LimitCounts()).of(name);
    this.#asker = new WindowAsker({
      scripts,
      name,
      windowMs,
      longer: 0,
      deadlineMs,
      logger,
      clock,
      counts: this.#counts,
    });
    this.#keys = new RecentMap(maxKeys);
  }

  /**
   * @returns 0: taken; otherwise nothing was taken, and a retry makes sense after this many ms (Infinity if `count`
   * exceeds the limit)
   */
  take(key: string, count = 1): number {
    if (this.#limit <= 0) return 0;
    const nowMs = this.#clock.monotonicMs();
    const state = this.#keys.get(key) ?? this.#remember(key, nowMs);
    const waitMs =
      nowMs < state.refusedUntilMs ? state.refusedUntilMs - nowMs : this.#takeHere(state, count, nowMs);
    if (waitMs > 0) {
      this.#counts.refusals++;
      this.#counts.local_refusals++;
      return waitMs;
    }
    const leaked = ((nowMs - state.levelAtMs) * this.#halfShare) / this.#windowMs;
    state.level = Math.max(0, state.level - leaked) + count;
    state.levelAtMs = nowMs;
    if (state.level > this.#halfShare && !state.isAsking) this.#tell(key, state, nowMs);
    return 0;
  }

  #takeHere({ ring, part, partUntilMs }: KeyState, count: number, nowMs: number): number {
    if (count > this.#limit) return Number.POSITIVE_INFINITY;
    if (ring === undefined) return 0;
    const limit = nowMs < partUntilMs ? Math.max(part, count) : this.#limit;
    return ring.take(count, limit, nowMs) ? 0 : Math.max(1, ring.waitMs(count, limit, nowMs));
  }

  #remember(key: string, nowMs: number): KeyState {
    const state: KeyState = {
      level: 0,
      levelAtMs: nowMs,
      isAsking: false,
      refusedUntilMs: Number.NEGATIVE_INFINITY,
      ring: undefined,
      told: [],
      part: 0,
      partUntilMs: Number.NEGATIVE_INFINITY,
    };
    this.#keys.set(key, state);
    return state;
  }

  #tell(key: string, state: KeyState, nowMs: number): void {
    if (state.ring === undefined) {
      state.ring = new WindowRing(this.#windowMs);
      state.ring.report(Math.ceil(state.level), nowMs);
    }
    const { ring } = state;
    if (this.#asker.isSilent(key) && !this.#asker.isTrialDue(key, nowMs)) return;
    state.isAsking = true;
    let reported = 0;
    const ask = (): WindowQuestion => {
      // While Redis is silent the level keeps growing, but takes older than a window no longer matter.
      reported = Math.min(Math.ceil(state.level), ring.usedAt(this.#clock.monotonicMs()));
      state.level = 0;
      return { key, limit: this.#limit, reported, extra: 0, takes: [] };
    };
    this.#asker.ask({
      key,
      ask,
      answered: (answer) => {
        state.isAsking = false;
        // The next query reports it.
        if (answer === undefined) state.level += reported;
        else this.#learn(state, reported, answer);
      },
      answeredLate: (answer) => {
        // If it was reported again meanwhile, Redis counts it twice, for one window.
        state.level = Math.max(0, state.level - reported);
        this.#learn(state, reported, answer);
      },
    });
  }

  #learn(state: KeyState, reported: number, { shares, used, leavesAtMs }: WindowAnswer): void {
    const nowMs = this.#clock.monotonicMs();
    state.told = state.told.filter((share) => share.leavesAtMs > nowMs);
    state.told.push({ leavesAtMs, count: reported });
    state.refusedUntilMs = admissibleAtMs(shares, this.#limit, 1);
    if (state.refusedUntilMs > nowMs) state.partUntilMs = nowMs + WATCHED_WINDOWS * this.#windowMs;
    else if (nowMs >= state.partUntilMs) return;
    // Both by Redis's count, late or not: the others took whatever was not taken here.
    const here = Math.min(used, usedAt(state.told, nowMs));
    state.part = Math.max(this.#leastPart, Math.ceil((this.#limit * here) / Math.max(used, 1)));
  }
}
