// services/dispatch -> here: lets rounds that are not urgent begin together, so that an idle process wakes less often.
// Guarantees: never later than asked, and at most a quarter of a second earlier; less than a second stays as it is.

const TICK_MS = 250;
const LEAST_MS = 1_000;

/**
 * @param ms until when a round may wait
 * @param nowMs monotonic
 * @returns how long it shall wait, so that others end at the same moment
 */
export function untilCommonTick(ms: number, nowMs = performance.now()): number {
  if (ms < LEAST_MS || !Number.isFinite(ms)) return ms;
  return Math.floor((nowMs + ms) / TICK_MS) * TICK_MS - nowMs;
}
