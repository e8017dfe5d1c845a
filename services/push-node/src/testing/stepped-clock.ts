// Tests only: a clock that runs, and can be moved.
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
