// How long to wait before a retry.
// Guarantees: full jitter: uniform between 0 and min(cap, base * 2^attempt), so that a crowd spreads out.

export interface BackoffOptions {
  readonly baseMs: number;
  readonly capMs: number;
  /** Uniform in [0, 1); tests pass their own. */
  readonly random?: () => number;
}

/**
 * @param attempt 0 for the first retry
 * @returns milliseconds to wait
 */
export function backoffMs(attempt: number, { baseMs, capMs, random = Math.random }: BackoffOptions): number {
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random() * ceiling);
}
