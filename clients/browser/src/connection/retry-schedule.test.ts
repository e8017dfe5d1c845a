// Tests the sequence of waits between attempts.
// Guarantees: a refused crowd spreads wider with every round; several addresses share one wait.
import { describe, expect, it } from "vitest";
import { RetrySchedule } from "./retry-schedule.js";

const CROWD = 400;

function schedules(addresses: number): RetrySchedule[] {
  return Array.from(
    { length: CROWD },
    () =>
      new RetrySchedule({
        normal: { baseMs: 500, capMs: 30_000 },
        long: { baseMs: 5_000, capMs: 120_000 },
        stableAfterMs: 5_000,
        addresses,
      }),
  );
}

/** The longest wait in a crowd. It is within a tenth of the ceiling. */
function ceilings(crowd: readonly RetrySchedule[], rounds: number): number[] {
  return Array.from({ length: rounds }, () =>
    Math.max(...crowd.map((schedule) => schedule.nextDelayMs("resume"))),
  );
}

describe("a crowd that is refused again and again", () => {
  it("waits up to twice as long each time, up to the cap", () => {
    const expected = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
    for (const [i, longest] of ceilings(schedules(1), expected.length).entries()) {
      expect(longest).toBeLessThan(expected[i] ?? 0);
      expect(longest).toBeGreaterThan((expected[i] ?? 0) * 0.9);
    }
  });

  it("a dead address beside a good one does not lengthen the wait", () => {
    const expected = [500, 500, 1_000, 1_000, 2_000, 2_000, 4_000, 4_000];
    for (const [i, longest] of ceilings(schedules(2), expected.length).entries()) {
      expect(longest).toBeLessThan(expected[i] ?? 0);
      expect(longest).toBeGreaterThan((expected[i] ?? 0) * 0.9);
    }
  });

  it("starts over only after a connection that lasted", () => {
    const [schedule] = schedules(1);
    for (let i = 0; i < 20; i++) {
      schedule?.opened();
      schedule?.nextDelayMs("resume");
    }
    const waits = Array.from({ length: 40 }, () => schedule?.nextDelayMs("resume") ?? 0);
    // Uniform below 30 s: all 40 are below half of it once in 10^12 runs.
    expect(Math.max(...waits)).toBeGreaterThan(15_000);
  });
});
