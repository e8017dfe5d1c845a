// How long to wait before the next attempt to connect.
// Guarantees: full jitter spreads a crowd over the whole interval; the long wait is at least half of its own interval.

export interface BackoffBounds {
  /** Ceiling of the first wait, in milliseconds. */
  readonly baseMs: number;
  /** No wait is longer, in milliseconds. */
  readonly capMs: number;
}

/**
 * Full jitter: uniform between 0 and min(cap, base * 2^attempt).
 * @param attempt 0 for the first retry
 * @param random uniform in [0, 1)
 * @returns milliseconds
 */
export function fullJitterMs(
  attempt: number,
  bounds: BackoffBounds,
  random: () => number = Math.random,
): number {
  return Math.floor(random() * ceilingMs(attempt, bounds));
}

/**
 * For a server that said "too many": uniform in the upper half of the interval, so that it is a real wait.
 * @param attempt 0 for the first retry
 * @param random uniform in [0, 1)
 * @returns milliseconds
 */
export function longJitterMs(
  attempt: number,
  bounds: BackoffBounds,
  random: () => number = Math.random,
): number {
  const ceiling = ceilingMs(attempt, bounds);
  return Math.floor(ceiling / 2 + (random() * ceiling) / 2);
}

function ceilingMs(attempt: number, { baseMs, capMs }: BackoffBounds): number {
  // 2^30 times any base exceeds every cap, and is still finite.
  return Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
}
