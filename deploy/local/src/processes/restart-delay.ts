// The local run: how long a service that died stays down.
// Guarantees: 0.25 s, doubled with each death in a row, at most 10 s; one that lived 5 s starts over.

const firstDelayMs = 250;
const longestDelayMs = 10_000;
const stableAfterMs = 5_000;

/**
 * @param deathsInARow before this one
 * @param aliveMs how long it lived this time
 */
export function nextRestart(
  deathsInARow: number,
  aliveMs: number,
): { readonly delayMs: number; readonly deathsInARow: number } {
  const before = aliveMs >= stableAfterMs ? 0 : deathsInARow;
  return {
    delayMs: Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(before, 16)),
    deathsInARow: before + 1,
  };
}
