// sliding-window-limiter -> here: how much of one key's limit this process may admit by itself while Redis does not
// answer, and what to report to Redis afterwards.
// Guarantees: in any window, never more than this process's share, or than the limit if the share is unknown; nor more
// than Redis had left at its last answer. What Redis was told, or granted after all, is not reported again; what it may
// not have received is.
import { admissibleAtMs, usedAt, WindowRing, type WindowShare } from "../../kernel/limits/window-ring.js";

/** For how many windows after an answer this process's share is known. */
const SHARE_KNOWN_WINDOWS = 10;
/** The minimum fraction of the limit that a process may admit by itself. */
const MIN_SHARE = 0.05;

export interface TakenPart {
  readonly atMs: number;
  readonly count: number;
}

export class AloneCount {
  readonly #windowMs: number;
  /** The window's contents at Redis's last answer. */
  seen: readonly WindowShare[] = [];
  /** Admitted without Redis, and not yet reported to it. */
  #untold: WindowRing | undefined;
  /** What Redis granted this process recently; fades out over a window. */
  #given = 0;
  #givenAtMs = Number.NEGATIVE_INFINITY;
  /** `#given` as a fraction of everything that was taken then. */
  #share = 0;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** @returns how much is left then; undefined if nothing was taken */
  take(count: number, limit: number, nowMs: number): number | undefined {
    this.#untold ??= new WindowRing(this.#windowMs);
    const alone = this.#untold.usedAt(nowMs) + count;
    const free = Math.min(this.#shareOf(limit, count, nowMs), limit - usedAt(this.seen, nowMs));
    if (alone > free) return undefined;
    this.#untold.report(count, nowMs);
    return free - alone;
  }

  /** The wait until this much may be taken, ms; at least 1. */
  waitMs(count: number, limit: number, nowMs: number): number {
    const hereMs = this.#untold?.waitMs(count, this.#shareOf(limit, count, nowMs), nowMs) ?? 0;
    return Math.max(1, hereMs, admissibleAtMs(this.seen, limit, count) - nowMs);
  }

  /** What must be reported to Redis now. */
  untold(nowMs: number): readonly TakenPart[] {
    return this.#untold?.parts(nowMs) ?? [];
  }

  /** Redis counts these now, so they need no further report. */
  forget(parts: readonly TakenPart[], nowMs: number): void {
    if (this.#untold === undefined) return;
    for (const { atMs, count } of parts) this.#untold.remove(count, atMs);
    if (this.#untold.usedAt(nowMs) === 0) this.#untold = undefined;
  }

  /** @param used in the whole window, by everybody */
  noteGiven(count: number, used: number, nowMs: number): void {
    if (count === 0) return;
    const elapsed = (nowMs - this.#givenAtMs) / this.#windowMs;
    this.#given = count + (elapsed < 1 ? this.#given * (1 - elapsed) : 0);
    this.#givenAtMs = nowMs;
    this.#share = Math.min(1, this.#given / used);
  }

  /** A single take larger than the share is admitted. */
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
