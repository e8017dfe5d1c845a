// Tests the fault planner.
import { seededRandom } from "@petrel/shared/testing/faults/seeded-random";
import { expect, test } from "vitest";
import { faultKinds, planFaults, type FaultTargets, type PlannedFault } from "./plan-faults.js";

const targets: FaultTargets = {
  processes: ["a", "b", "redis"],
  links: ["link of a", "link of b"],
  stoppable: ["a"],
  phoneOwners: ["alice", "bob"],
  persons: ["carol"],
  redis: { name: "redis", hasClock: true },
};
const events = ["stop", "lag", "erase", "replica", "clock", "skew"];
const plan = (seed: number, totalMs = 600_000, of = targets): PlannedFault[] =>
  planFaults({ random: seededRandom(seed), targets: of, totalMs });
const isEvent = ({ kind }: PlannedFault): boolean => events.includes(kind);

test("the same seed plans the same faults, another seed plans others", () => {
  expect(plan(1)).toEqual(plan(1));
  expect(plan(1)).not.toEqual(plan(2));
});

test("every kind of fault hits every target it can within the time", () => {
  const faults = plan(3);
  expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(faultKinds));
  for (const { kind, target, atMs, durationMs } of faults) {
    const isPerson = kind === "lag" || kind === "erase";
    expect(["alice", "bob", "carol"].includes(target)).toBe(isPerson);
    const isLink = ["cut", "reset", "stall", "deafen", "slow"].includes(kind);
    expect(targets.links.includes(target)).toBe(isLink);
    expect(atMs + durationMs).toBeLessThanOrEqual(600_000);
  }
  const others = faults.filter((one) => !isEvent(one)).map(({ target }) => target);
  expect(new Set(others)).toEqual(new Set([...targets.processes, ...targets.links]));
});

test("each kind of event happens once before any happens twice", () => {
  const kinds = plan(5)
    .filter(isEvent)
    .map(({ kind }) => kind);
  for (let i = 0; i + events.length <= kinds.length; i += events.length) {
    expect(new Set(kinds.slice(i, i + events.length))).toEqual(new Set(events));
  }
});

test("a clock stays wrong once shifted, and each step crosses the right time", () => {
  const shifts = plan(6).flatMap(({ shiftMs }) => (shiftMs === undefined ? [] : [shiftMs]));
  expect(shifts.length).toBeGreaterThan(4);
  expect(shifts[0]).toBeLessThan(0);
  for (const [i, shift] of shifts.entries()) {
    expect(Math.abs(shift)).toBeGreaterThanOrEqual(15_000);
    expect(Math.sign(shift)).toBe(i % 2 === 0 ? -1 : 1);
  }
});

test("leaves out what is not possible here and plans the rest", () => {
  const kindsOf = (of: FaultTargets): Set<string> => new Set(plan(7, 600_000, of).map(({ kind }) => kind));
  const withoutClock = kindsOf({ ...targets, redis: { name: "redis", hasClock: false } });
  expect(faultKinds.filter((kind) => !withoutClock.has(kind))).toEqual(["clock", "skew"]);
  const { processes, links } = targets;
  expect(events.filter((kind) => kindsOf({ processes, links }).has(kind))).toEqual([]);
});

test("plans at most two faults and one event at a time, never two on one target", () => {
  const faults = plan(4);
  for (const [i, fault] of faults.entries()) {
    const others = faults.slice(0, i).filter(({ atMs, durationMs }) => atMs + durationMs >= fault.atMs);
    expect(others.filter(isEvent).length).toBeLessThan(isEvent(fault) ? 1 : 2);
    expect(others.filter((one) => !isEvent(one)).length).toBeLessThan(isEvent(fault) ? 3 : 2);
    expect(others.map(({ target }) => target)).not.toContain(fault.target);
  }
});
