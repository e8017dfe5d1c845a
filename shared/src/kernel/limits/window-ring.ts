// sliding-window-limiter, local-limiter -> here: how much was taken in the last window, in constant memory.
// Guarantees: what it admits never exceeds the limit in any window of its length: the oldest sub-window counts whole as
// long as some of it may lie in the window. The same arithmetic as redis/limits/take-from-window.v1.lua, which a test holds
// it to.

/** Into how many parts a window is divided: so much of it, at most, an admission comes late. */
export const SUB_WINDOWS = 40;

/** How much was taken in a sub-window, and when it stops counting. */
export interface WindowShare {
  /** On whatever clock the holder uses, ms. */
  readonly leavesAtMs: number;
  readonly count: number;
}

/** A sub-window's length for a window of this length, ms. */
export function subWindowMs(windowMs: number): number {
  return Math.max(1, Math.ceil(windowMs / SUB_WINDOWS));
}

/**
 * When so much may be taken, ms.
 * @param shares oldest first
 * @returns Infinity where `count` is more than the limit
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

/** How much of it still counts at this moment. */
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
    // Those of the window, and the one that begins while the oldest has not left it.
    this.#counts = new Float64Array(Math.ceil(windowMs / this.#subMs) + 1);
  }

  /**
   * @param nowMs never goes back
   * @returns whether so much was free; nothing is counted where it was not
   */
  take(count: number, limit: number, nowMs: number): boolean {
    this.#forgetUntil(nowMs);
    if (this.#used + count > limit) return false;
    this.#add(count);
    return true;
  }

  /** Counts what was taken already, whatever the limit. */
  report(count: number, nowMs: number): void {
    this.#forgetUntil(nowMs);
    this.#add(count);
  }

  /** Counts no more what was taken or reported at `atMs`; what has left the window since is forgotten already. */
  remove(count: number, atMs: number): void {
    const index = Math.floor(atMs / this.#subMs);
    const { length } = this.#counts;
    if (index > this.#newest || index <= this.#newest - length) return;
    const slot = index % length;
    const removed = Math.min(count, this.#counts[slot] ?? 0);
    this.#counts[slot] = (this.#counts[slot] ?? 0) - removed;
    this.#used -= removed;
  }

  /** What it counts, oldest first, each with a moment for `remove`. */
  parts(nowMs: number): { readonly atMs: number; readonly count: number }[] {
    this.#forgetUntil(nowMs);
    const heldMs = this.#counts.length * this.#subMs;
    return this.#shares().map(({ leavesAtMs, count }) => ({ atMs: leavesAtMs - heldMs, count }));
  }

  usedAt(nowMs: number): number {
    this.#forgetUntil(nowMs);
    return this.#used;
  }

  /** How long until so much may be taken, ms; Infinity where it never may. */
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
