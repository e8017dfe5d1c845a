// limits/sliding-window-limiter -> here: what was taken in advance for one key, and how much to take next.
// Guarantees: nothing is handed out after its time; nothing is taken in advance for a rarely used key.
import type { LimitDecision } from "../../kernel/limits/limit-decision.js";

/** An amount that may be handed out until its time is up. */
interface Lot {
  left: number;
  readonly untilMs: number;
  readonly decision: LimitDecision;
}

/** Takes per sub-window from which some are taken in advance; with fewer, they might come too late to be used. */
const BUSY_TAKES = 4;

export class TakenAhead {
  /** Oldest first; at most two. */
  #lots: Lot[] = [];
  /** How much was asked for, and how often, in this sub-window and in the previous one. */
  #spent = 0;
  #spentBefore = 0;
  #takes = 0;
  #takesBefore = 0;
  #spentFromMs = Number.NEGATIVE_INFINITY;

  /** Whether the previous sub-window was busy enough to take some in advance. */
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
   * As much as half a sub-window will need, judged by the previous one, so that it is used up before it expires.
   * @param atMost a share of the limit
   * @param usable the fraction of a sub-window that is left when Redis's answer has come
   */
  nextSize(atMost: number, usable: number): number {
    if (usable <= 0) return 0;
    return Math.min(Math.floor(atMost), Math.floor(this.#spentBefore * Math.min(0.5, usable)));
  }
}
