// services/dispatch -> here: lets rounds that are not urgent begin together, so that an idle process wakes less often.
// Guarantees: never later than asked, and at most a second earlier; less than nine tenths of a second stays as it is.
// What asks for a second again and again runs once a second, also where it counts from the moment that it began.

const TICK_MS = 1_000;
const LEAST_MS = 900;

/**
 * A wake-up costs far more than what most rounds then do: rounds a second apart shall have one in common.
 * @param ms until when a round may wait
 * @param nowMs monotonic
 * @returns how long it shall wait, so that others end at the same moment
 */
export function untilCommonTick(ms: number, nowMs = performance.now()): number {
  if (ms < LEAST_MS || !Number.isFinite(ms)) return ms;
  const waitMs = Math.floor((nowMs + ms) / TICK_MS) * TICK_MS - nowMs;
  return waitMs > 0 ? waitMs : ms;
}
