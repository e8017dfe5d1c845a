// ask-windows -> here: how long to wait for an answer of Redis, judged by how long recent answers took.
// Guarantees: a Redis that is always slow is waited for, within a bound; one that was quick is given up soon. A late
// answer counts too, so the next one is waited for.

export interface AnswerTimesOptions {
  /** The shortest wait, however quick Redis was. */
  readonly floorMs: number;
  /** The longest wait, however slow Redis was; at least the floor. */
  readonly ceilingMs?: number;
}

export const DEFAULT_CEILING_MS = 2_000;
/** The next answer may take this many times as long as the slowest of the recent ones. */
const MARGIN = 3;
/** The slowest answer is remembered for one to two periods, or longer if none came since. */
const PERIOD_MS = 10_000;
/** The weight of each new answer in the average. */
const WEIGHT = 1 / 8;

export class AnswerTimes {
  readonly #floorMs: number;
  readonly ceilingMs: number;
  #periodFromMs = Number.NEGATIVE_INFINITY;
  #slowestMs = 0;
  #slowestBeforeMs = 0;
  #usualMs: number | undefined;

  constructor({ floorMs, ceilingMs = DEFAULT_CEILING_MS }: AnswerTimesOptions) {
    this.#floorMs = floorMs;
    this.ceilingMs = Math.max(floorMs, ceilingMs);
  }

  note(tookMs: number, nowMs: number): void {
    if (nowMs - this.#periodFromMs >= PERIOD_MS) {
      this.#slowestBeforeMs = this.#slowestMs;
      this.#slowestMs = 0;
      this.#periodFromMs = nowMs;
    }
    this.#slowestMs = Math.max(this.#slowestMs, tookMs);
    this.#usualMs = this.#usualMs === undefined ? tookMs : this.#usualMs + (tookMs - this.#usualMs) * WEIGHT;
  }

  /** How long an answer usually takes; 0 if unknown. */
  get usualMs(): number {
    return this.#usualMs ?? 0;
  }

  get deadlineMs(): number {
    const slowestMs = Math.max(this.#slowestMs, this.#slowestBeforeMs);
    return Math.min(this.ceilingMs, Math.max(this.#floorMs, MARGIN * slowestMs));
  }
}
