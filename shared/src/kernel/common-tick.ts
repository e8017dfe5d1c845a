// services/dispatch -> here: aligns rounds that are not urgent, so that an idle process wakes less often.
// Guarantees: a round never starts later than asked, and at most one second earlier. Waits under 900 ms are left alone.
// A loop that asks for one second each time runs once a second, even if it counts from the start of its round.

const TICK_MS = 1_000;
const LEAST_MS = 900;

/**
 * A wake-up costs far more than the work of most rounds, so rounds that are due in the same second share one.
 * @param ms the longest the round may wait
 * @param nowMs monotonic
 * @returns the wait that ends on the shared tick
 */
export function untilCommonTick(ms: number, nowMs = performance.now()): number {
  if (ms < LEAST_MS || !Number.isFinite(ms)) return ms;
  const waitMs = Math.floor((nowMs + ms) / TICK_MS) * TICK_MS - nowMs;
  return waitMs > 0 ? waitMs : ms;
}
