// A frame of a socket -> here -> ask-windows: a limit on what is hot and rarely limited.
// Guarantees: a take is answered at once and makes nothing; bounded memory; this process alone never lets more than the
// limit and its share through; over all processes so much more than the limit as docs/send/limits.md says, because each tells
// Redis after the fact, once per half of its share.
import { type Clock, systemClock } from "../../kernel/clock.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { RecentMap } from "../../kernel/recent-map.js";
import { admissibleAtMs, WindowRing } from "../../kernel/limits/window-ring.js";
import { WindowAsker } from "./ask-windows.js";
import { LimitCounts, type LimitCountsOf } from "./limit-counts.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { DEFAULT_DEADLINE_MS, DEFAULT_MAX_KEYS } from "./sliding-window-limiter.js";

export interface ReportedWindowLimiterOptions {
  readonly scripts: Pick<ScriptRunner, "run" | "together">;
  /** Names the limit in Redis and in the metrics: lower-case letters and hyphens. */
  readonly name: string;
  /** How much may be taken in a window; 0: no limit. */
  readonly limit: number;
  readonly windowMs: number;
  /** The share of the limit that this process may take in a window without telling Redis. Default 0.1. */
  readonly askFrom?: number;
  /** How long Redis may take to answer, ms. */
  readonly deadlineMs?: number;
  /** Keys about which something is remembered. */
  readonly maxKeys?: number;
  readonly counts?: LimitCounts;
  readonly logger?: Pick<Logger, "warn" | "info">;
  readonly clock?: Clock;
}

interface KeyState {
  /** Taken and not told; it leaks, so that whoever stays below the share is never asked about. */
  level: number;
  levelAtMs: number;
  isAsking: boolean;
  refusedUntilMs: number;
  /** All that was taken here, since the key was first asked about. */
  ring: WindowRing | undefined;
}

export class ReportedWindowLimiter {
  readonly #limit: number;
  readonly #windowMs: number;
  readonly #halfShare: number;
  readonly #clock: Clock;
  readonly #counts: LimitCountsOf;
  readonly #asker: WindowAsker;
  readonly #keys: RecentMap<KeyState>;

  constructor(options: ReportedWindowLimiterOptions) {
    const { scripts, name, limit, windowMs, askFrom = 0.1, clock = systemClock, logger } = options;
    const { deadlineMs = DEFAULT_DEADLINE_MS, maxKeys = DEFAULT_MAX_KEYS } = options;
    this.#limit = limit;
    this.#windowMs = windowMs;
    // Half may be full already, and half leaks away in a window: together never more than the share.
    this.#halfShare = (limit * askFrom) / 2;
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
   * @returns 0: taken; otherwise nothing was taken, and in so many ms it is worth trying again (Infinity where `count`
   * is more than the limit)
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

  #takeHere({ ring }: KeyState, count: number, nowMs: number): number {
    if (count > this.#limit) return Number.POSITIVE_INFINITY;
    if (ring === undefined || ring.take(count, this.#limit, nowMs)) return 0;
    return Math.max(1, ring.waitMs(count, this.#limit, nowMs));
  }

  #remember(key: string, nowMs: number): KeyState {
    const state: KeyState = {
      level: 0,
      levelAtMs: nowMs,
      isAsking: false,
      refusedUntilMs: Number.NEGATIVE_INFINITY,
      ring: undefined,
    };
    this.#keys.set(key, state);
    return state;
  }

  #tell(key: string, state: KeyState, nowMs: number): void {
    if (state.ring === undefined) {
      state.ring = new WindowRing(this.#windowMs);
      state.ring.report(Math.ceil(state.level), nowMs);
    }
    if (this.#asker.isSilent(nowMs)) return;
    state.isAsking = true;
    const ask = () => {
      const reported = Math.ceil(state.level);
      state.level = 0;
      return { key, limit: this.#limit, reported, extra: 0, takes: [] };
    };
    this.#asker.ask(ask, (answer) => {
      state.isAsking = false;
      if (answer !== undefined) state.refusedUntilMs = admissibleAtMs(answer.shares, this.#limit, 1);
    });
  }
}
