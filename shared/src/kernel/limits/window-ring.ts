// sliding-window-limiter, local-limiter -> here: how much was taken in the last window, in constant memory. Guarantees:
// admits at most the limit in any window of its length, because the oldest sub-window counts in full while any of it
// may lie in the window. Same arithmetic as redis/limits/take-from-window.v1.lua; a test compares the two.

/** Parts of a window. An admission comes at most one part later than it could. */
export const SUB_WINDOWS = 40;

/** The amount taken in one sub-window, and when it stops counting. */
export interface WindowShare {
  /** By the holder's clock, ms. */
  readonly leavesAtMs: number;
  readonly count: number;
}

/** The length of a sub-window, ms. */
export function subWindowMs(windowMs: number): number {
  return Math.max(1, Math.ceil(windowMs / SUB_WINDOWS));
}

/**
 * When this much may be taken, ms.
 * @param shares oldest first
 * @returns Infinity if `count` exceeds the limit
 */
export function admissibleAtMs(shares: readonly WindowShare[], limit: number, count: number): number {
  if (count > limit) return Number.POSITIVE_INFINITY;
  let used = 0;
  for (const share of shares) used += share.count;
  let atMs = Number.NEGATIVE_INFINITY;
  for (const share of shares) {
    if (used + count <= limit) break;
    used -= share.count;
    atMs = share.leavesAtMs;
  }
  return atMs;
}

/** How much of these shares still counts at this moment. */
export function usedAt(shares: readonly WindowShare[], nowMs: number): number {
  let used = 0;
  for (const { leavesAtMs, count } of shares) if (leavesAtMs > nowMs) used += count;
  return used;
}

export class WindowRing {
  readonly #subMs: number;
  readonly #counts: Float64Array;
  #newest = Number.NEGATIVE_INFINITY;
  #used = 0;

  constructor(windowMs: number) {
    this.#subMs = subWindowMs(windowMs);
    // The sub-windows of a window, plus one that begins before the oldest has left.
    this.#counts = new Float64Array(Math.ceil(windowMs / this.#subMs) + 1);
  }

  /**
   * @param nowMs never goes back
   * @returns whether there was room; if not, nothing is counted
   */
  take(count: number, limit: number, nowMs: number): boolean {
    this.#forgetUntil(nowMs);
    if (this.#used + count > limit) return false;
    this.#add(count);
    return true;
  }

  /** Counts an amount that was already taken, regardless of the limit. */
  report(count: number, nowMs: number): void {
    this.#forgetUntil(nowMs);
    this.#add(count);
  }

  /** Takes back what was taken or reported at `atMs`; does nothing if that has left the window. */
  remove(count: number, atMs: number): void {
    const index = Math.floor(atMs / this.#subMs);
    const { length } = this.#counts;
    if (index > this.#newest || index <= this.#newest - length) return;
    const slot = index % length;
    const removed = Math.min(count, this.#counts[slot] ?? 0);
    this.#counts[slot] = (this.#counts[slot] ?? 0) - removed;
    this.#used -= removed;
  }

  /** The counts, oldest first, each with a moment that `remove` accepts. */
  parts(nowMs: number): { readonly atMs: number; readonly count: number }[] {
    this.#forgetUntil(nowMs);
    const heldMs = this.#counts.length * this.#subMs;
    return this.#shares().map(({ leavesAtMs, count }) => ({ atMs: leavesAtMs - heldMs, count }));
  }

  usedAt(nowMs: number): number {
    this.#forgetUntil(nowMs);
    return this.#used;
  }

  /** How long until this much may be taken, ms; Infinity if never. */
  waitMs(count: number, limit: number, nowMs: number): number {
    this.#forgetUntil(nowMs);
    return Math.max(0, admissibleAtMs(this.#shares(), limit, count) - nowMs);
  }

  #add(count: number): void {
    const slot = this.#newest % this.#counts.length;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + count;
    this.#used += count;
  }

  #forgetUntil(nowMs: number): void {
    const current = Math.floor(nowMs / this.#subMs);
    if (current <= this.#newest) return;
    const { length } = this.#counts;
    if (current - this.#newest >= length) {
      this.#counts.fill(0);
      this.#used = 0;
    } else {
      for (let index = this.#newest + 1; index <= current; index++) {
        this.#used -= this.#counts[index % length] ?? 0;
        this.#counts[index % length] = 0;
      }
    }
    this.#newest = current;
  }

  #shares(): WindowShare[] {
    const { length } = this.#counts;
    const shares: WindowShare[] = [];
    for (let index = Math.max(0, this.#newest - length + 1); index <= this.#newest; index++) {
      const count = this.#counts[index % length] ?? 0;
      if (count > 0) shares.push({ leavesAtMs: (index + length) * this.#subMs, count });
    }
    return shares;
  }
}
