// Time as an argument, so that tests of leases and timers can step their own clock.
// Guarantees: `monotonicMs` never goes back, whatever happens to the wall clock.

export interface Clock {
  /** Milliseconds since 1970 UTC; may step. For people and tokens, never for leases. */
  wallMs(): number;
  /** Milliseconds since some fixed moment; never goes back. */
  monotonicMs(): number;
}

export const systemClock: Clock = Object.freeze({
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
});
