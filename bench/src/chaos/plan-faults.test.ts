// Tests of the fault planner.
import { seededRandom } from "@petrel/shared/testing/seeded-random";
import { expect, test } from "vitest";
import { faultKinds, planFaults, type PlannedFault } from "./plan-faults.js";

const targets = { processes: ["a", "b", "redis"], links: ["link of a", "link of b"] };
const plan = (seed: number, totalMs = 600_000): PlannedFault[] =>
  planFaults({ random: seededRandom(seed), targets, totalMs });

test("the same seed plans the same faults, another one others", () => {
  expect(plan(1)).toEqual(plan(1));
  expect(plan(1)).not.toEqual(plan(2));
});

test("every kind has its turn, at every target it can befall, within the time", () => {
  const faults = plan(3);
  expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(faultKinds));
  expect(new Set(faults.map(({ target }) => target))).toEqual(
    new Set([...targets.processes, ...targets.links]),
  );
  for (const { kind, target, atMs, durationMs } of faults) {
    expect(targets.processes.includes(target)).toBe(kind === "kill" || kind === "pause");
    expect(atMs + durationMs).toBeLessThanOrEqual(600_000);
  }
});

test("at most two at a time, never two at one target", () => {
  const faults = plan(4);
  for (const [i, fault] of faults.entries()) {
    const others = faults.slice(0, i).filter(({ atMs, durationMs }) => atMs + durationMs >= fault.atMs);
    expect(others.length).toBeLessThan(2);
    expect(others.map(({ target }) => target)).not.toContain(fault.target);
  }
});
