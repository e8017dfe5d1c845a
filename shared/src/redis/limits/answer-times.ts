// ask-windows -> here: how long an answer of Redis may take, going by how long answers took lately.
// Guarantees: a Redis that is always slow is waited for, within a bound; one that was quick is given up soon. An answer
// that comes after it was given up counts too, so the next one is waited for.

export interface AnswerTimesOptions {
  /** Waited for at least this long, however quick Redis was. */
  readonly floorMs: number;
  /** Waited for at most this long, however slow Redis was; at least the floor. */
  readonly ceilingMs?: number;
}

export const DEFAULT_CEILING_MS = 2_000;
/** How many times as long as the slowest of the last answers the next one may take. */
const MARGIN = 3;
/** The slowest answer is remembered for one to two periods, or longer where none came since. */
const PERIOD_MS = 10_000;
/** The weight of each answer in the usual time. */
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

  /** How long an answer usually takes; 0 where nothing is known. */
  get usualMs(): number {
    return this.#usualMs ?? 0;
  }

  get deadlineMs(): number {
    const slowestMs = Math.max(this.#slowestMs, this.#slowestBeforeMs);
    return Math.min(this.ceilingMs, Math.max(this.#floorMs, MARGIN * slowestMs));
  }
}
