// repeat-request, send/batch-sender -> here: how long to wait before the next attempt.
// Guarantees: full jitter, so that many senders spread out; never sooner than the server asked for.

const BASE_MS = 100;
const CAP_MS = 5_000;

/**
 * @param attempt 0 after the first attempt
 * @param random uniform in [0, 1)
 * @returns milliseconds: up to min(cap, base * 2^attempt), after `retryAfterMs`
 */
export function retryDelayMs(
  attempt: number,
  retryAfterMs: number | undefined,
  random: () => number = Math.random,
): number {
  const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt, 30));
  return (retryAfterMs ?? 0) + Math.floor(random() * ceiling);
}
