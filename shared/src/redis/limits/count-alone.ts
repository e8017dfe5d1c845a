// sliding-window-limiter -> here: how much of one key's limit this process may admit by itself, while Redis does not
// answer, and what Redis is to be told of that afterwards.
// Guarantees: never more than this process' share in any window, as far as that is known, else than the limit; nor more
// than Redis, by its last answer, had left. What was told, or granted after all, is not told again; what may not have
// been heard is.
import { admissibleAtMs, usedAt, WindowRing, type WindowShare } from "../../kernel/limits/window-ring.js";

/** For so many windows after an answer this process' share of what was taken is known. */
const SHARE_KNOWN_WINDOWS = 10;
/** Of the limit: what a process may admit by itself, however small its share was. */
const MIN_SHARE = 0.05;

export interface TakenPart {
  readonly atMs: number;
  readonly count: number;
}

export class AloneCount {
  readonly #windowMs: number;
  /** What stood in the window when Redis last answered. */
  seen: readonly WindowShare[] = [];
  /** What was admitted without Redis, as far as Redis has not been told. */
  #untold: WindowRing | undefined;
  /** What Redis gave to this process of late: what is older than a window hardly counts. */
  #given = 0;
  #givenAtMs = Number.NEGATIVE_INFINITY;
  /** That, of all that was taken then. */
  #share = 0;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** @returns how much is left then; undefined where nothing was taken */
  take(count: number, limit: number, nowMs: number): number | undefined {
    this.#untold ??= new WindowRing(this.#windowMs);
    const alone = this.#untold.usedAt(nowMs) + count;
    const free = Math.min(this.#shareOf(limit, count, nowMs), limit - usedAt(this.seen, nowMs));
    if (alone > free) return undefined;
    this.#untold.report(count, nowMs);
    return free - alone;
  }

  /** In how long so much may be taken, ms; at least 1. */
  waitMs(count: number, limit: number, nowMs: number): number {
    const hereMs = this.#untold?.waitMs(count, this.#shareOf(limit, count, nowMs), nowMs) ?? 0;
    return Math.max(1, hereMs, admissibleAtMs(this.seen, limit, count) - nowMs);
  }

  /** What is to be told now. */
  untold(nowMs: number): readonly TakenPart[] {
    return this.#untold?.parts(nowMs) ?? [];
  }

  /** Redis counts it: it need not be told any more. */
  forget(parts: readonly TakenPart[], nowMs: number): void {
    if (this.#untold === undefined) return;
    for (const { atMs, count } of parts) this.#untold.remove(count, atMs);
    if (this.#untold.usedAt(nowMs) === 0) this.#untold = undefined;
  }

  /** @param used in all of the window, by everybody */
  noteGiven(count: number, used: number, nowMs: number): void {
    if (count === 0) return;
    const elapsed = (nowMs - this.#givenAtMs) / this.#windowMs;
    this.#given = count + (elapsed < 1 ? this.#given * (1 - elapsed) : 0);
    this.#givenAtMs = nowMs;
    this.#share = Math.min(1, this.#given / used);
  }

  /** One take that is larger than the share is admitted by itself. */
  #shareOf(limit: number, count: number, nowMs: number): number {
    if (nowMs - this.#givenAtMs > SHARE_KNOWN_WINDOWS * this.#windowMs) return limit;
    return Math.max(count, Math.ceil(limit * Math.max(MIN_SHARE, this.#share)));
  }
}

export function sumOf(parts: readonly TakenPart[]): number {
  let sum = 0;
  for (const { count } of parts) sum += count;
  return sum;
}
