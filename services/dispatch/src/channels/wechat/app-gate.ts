// send-to-openid -> here: whether an app's requests may go to WeChat now.
// Guarantees: while WeChat has asked for a pause, this process sends nothing. While it does not answer, one request at
// a time probes, at growing intervals. An openid is not believed to be invalid if many are called invalid at once.
import { createRareLog, type RareLog } from "@petrel/shared/kernel/logging/rare-log";
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { RecentAnswers } from "../apns/recent-answers.js";

export interface OpenPassage {
  readonly passage: "open";
  /** The number of its probe, where the request is one. */
  readonly probe?: number;
}

export type Passage =
  | OpenPassage
  | { readonly passage: "closed"; readonly reason: string; readonly forMs: number };

export interface AppGateOptions {
  readonly appid: string;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
  readonly random?: () => number;
}

/** Failures in a row that open it. */
const FAILURES = 5;
const [FIRST_OPEN_MS, MAX_OPEN_MS] = [1_000, 60_000];
/** An ordinary request's. */
const OPEN: OpenPassage = { passage: "open" };
/** A probe may be given up together with its message; then it must not block the others forever. */
const LOOK_MS = 30_000;
/** If so many users, and so large a share of the answers, have invalid openids, the mistake is elsewhere. */
const SPIKE = { minUsers: 20, minShare: 0.5, withinMs: 10 * 60_000 } as const;
const SPIKE_LOG_MS = 60_000;

export class AppGate {
  readonly #options: Required<AppGateOptions>;
  readonly #answers = new RecentAnswers();
  readonly #spikes: RareLog;
  #rest: { readonly reason: string; readonly untilMs: number } | undefined;
  #failures = 0;
  #closedUntilMs = 0;
  #closedForMs = 0;
  #lookingUntilMs = 0;
  /** Of the newest probe: nobody else may end its turn. */
  #probe = 0;

  constructor(options: AppGateOptions) {
    this.#options = { random: Math.random, ...options };
    this.#spikes = createRareLog(options.logger, SPIKE_LOG_MS);
  }

  get isClosed(): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    return this.#failures >= FAILURES || (this.#rest?.untilMs ?? 0) > nowMs;
  }

  /** Call it before each request; whoever passes must report the result, with the passage. */
  pass(): Passage {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#rest !== undefined) {
      const { reason, untilMs } = this.#rest;
      if (untilMs > nowMs) return { passage: "closed", reason, forMs: this.#spread(untilMs - nowMs) };
      this.#rest = undefined;
    }
    if (this.#failures < FAILURES) return OPEN;
    const waitMs = Math.max(this.#closedUntilMs, this.#lookingUntilMs) - nowMs;
    if (waitMs > 0) {
      return {
        passage: "closed",
        reason: "WeChat does not answer",
        forMs: this.#spread(Math.min(waitMs, MAX_OPEN_MS)),
      };
    }
    this.#lookingUntilMs = nowMs + LOOK_MS;
    return { passage: "open", probe: ++this.#probe };
  }

  /** Call it when WeChat wants no requests from this app for this long. */
  rest(reason: string, forMs: number): void {
    this.#rest = { reason, untilMs: this.#options.clock.monotonicMs() + forMs };
  }

  answered(): void {
    this.#failures = 0;
    this.#closedForMs = 0;
    this.#lookingUntilMs = 0;
  }

  /** Call it when no request was sent after all: if it was to be a probe, another one may probe in its place. */
  released({ probe }: OpenPassage): void {
    if (probe === this.#probe) this.#lookingUntilMs = 0;
  }

  unanswered(passage: OpenPassage): void {
    this.released(passage);
    if (++this.#failures < FAILURES) return;
    this.#closedForMs = Math.min(MAX_OPEN_MS, Math.max(FIRST_OPEN_MS, 2 * this.#closedForMs));
    this.#closedUntilMs = this.#options.clock.monotonicMs() + this.#closedForMs;
  }

  goodOpenid(): void {
    this.#answers.note(this.#options.clock.monotonicMs(), undefined);
  }

  /** @returns whether the device may be forgotten */
  badOpenid(userId: string): boolean {
    const { clock, appid } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#answers.note(nowMs, userId);
    const { minUsers, minShare, withinMs } = SPIKE;
    if (!this.#answers.isSpike({ sinceMs: nowMs - withinMs, minUsers, minShare })) return true;
    this.#spikes.warn(
      `WeChat calls the openids of many users of ${appid} wrong at once: no device is touched. Are they of this app?`,
    );
    return false;
  }

  /** Spreads retries, so that they do not all come back at once. */
  #spread(waitMs: number): number {
    return Math.ceil(waitMs + this.#options.random() * Math.min(waitMs / 4 + 100, 60_000));
  }
}
