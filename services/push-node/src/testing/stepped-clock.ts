// Tests only: a running clock that can be moved, or one that only moves by steps.
// Guarantees: never goes back; both times move together.
import type { Clock } from "@petrel/shared/kernel/clock";

export interface SteppedClock extends Clock {
  /** Moves it forward at once. */
  readonly step: (ms: number) => void;
}

export function createSteppedClock(): SteppedClock {
  let aheadMs = 0;
  return {
    wallMs: () => Date.now() + aheadMs,
    monotonicMs: () => performance.now() + aheadMs,
    step: (ms) => {
      aheadMs += ms;
    },
  };
}

export function createStoppedClock(): SteppedClock {
  // A whole number, so that a step of a second never falls short of one.
  let nowMs = Math.ceil(performance.now());
  const offsetMs = Date.now() - nowMs;
  return {
    wallMs: () => nowMs + offsetMs,
    monotonicMs: () => nowMs,
    step: (ms) => {
      nowMs += ms;
    },
  };
}
