// limits/sliding-window-limiter -> here: what was taken ahead for one key, and how much to take ahead next.
// Guarantees: nothing is given out after its time; a key that is seldom asked for takes nothing ahead.
import type { LimitDecision } from "../../kernel/limits/limit-decision.js";

/** May be given out until its time is up. */
interface Lot {
  left: number;
  readonly untilMs: number;
  readonly decision: LimitDecision;
}

/** From this many takes in a sub-window on, some are taken ahead: with fewer, they might come too late to be used. */
const BUSY_TAKES = 4;

export class TakenAhead {
  /** Oldest first; at most two. */
  #lots: Lot[] = [];
  /** How much was asked for, and how often, in this sub-window and in the one before. */
  #spent = 0;
  #spentBefore = 0;
  #takes = 0;
  #takesBefore = 0;
  #spentFromMs = Number.NEGATIVE_INFINITY;

  /** Whether enough was asked for, in the sub-window before, to take some ahead. */
  get isBusy(): boolean {
    return this.#takesBefore >= BUSY_TAKES;
  }

  noteSpent(count: number, nowMs: number, subWindowMs: number): void {
    const elapsedMs = nowMs - this.#spentFromMs;
    if (elapsedMs >= subWindowMs) {
      const isNext = elapsedMs < 2 * subWindowMs;
      this.#spentBefore = isNext ? this.#spent : 0;
      this.#takesBefore = isNext ? this.#takes : 0;
      this.#spentFromMs = isNext ? this.#spentFromMs + subWindowMs : nowMs;
      this.#spent = 0;
      this.#takes = 0;
    }
    this.#spent += count;
    this.#takes++;
  }

  left(nowMs: number): number {
    let left = 0;
    for (const lot of this.#lots) if (lot.untilMs > nowMs) left += lot.left;
    return left;
  }

  /** @returns undefined if less than this is left */
  give(count: number, nowMs: number): LimitDecision | undefined {
    if (this.#lots.length === 0) return undefined;
    if (this.#lots.some((lot) => lot.left === 0 || lot.untilMs <= nowMs)) {
      this.#lots = this.#lots.filter((lot) => lot.left > 0 && lot.untilMs > nowMs);
    }
    const decision = this.#lots[0]?.decision;
    if (decision === undefined || this.left(nowMs) < count) return undefined;
    let rest = count;
    for (const lot of this.#lots) {
      const part = Math.min(lot.left, rest);
      lot.left -= part;
      rest -= part;
    }
    return decision;
  }

  add(count: number, untilMs: number, decision: LimitDecision): void {
    this.#lots.push({ left: count, untilMs, decision });
  }

  /**
   * As much as half a sub-window will need, going by the one before, so that it is used up before it expires.
   * @param atMost a share of the limit
   * @param usable which share of a sub-window is left when Redis' answer has come
   */
  nextSize(atMost: number, usable: number): number {
    if (usable <= 0) return 0;
    return Math.min(Math.floor(atMost), Math.floor(this.#spentBefore * Math.min(0.5, usable)));
  }
}
