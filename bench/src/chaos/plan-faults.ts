// chaos: which faults there will be, when, and for how long.
// Guarantees: a pure function of the seed; two faults never hit the same target at once; all are over at the end.
import type { SeededRandom } from "@petrel/shared/testing/faults/seeded-random";

const PROCESS_FAULTS = ["kill", "pause"] as const;
const LINK_FAULTS = ["cut", "reset", "stall", "deafen", "slow"] as const;
/** What happens to a cluster in a year besides faults. Each comes once before any repeats. */
const EVENTS = ["stop", "lag", "erase", "replica", "clock", "skew"] as const;
export const faultKinds = [...PROCESS_FAULTS, ...LINK_FAULTS, ...EVENTS] as const;

/**
 * kill: SIGKILL, restarted · pause: SIGSTOP, SIGCONT · cut: connections closed, new ones too · reset: the same with RST
 * · stall: silence · deafen: silence towards one side only · slow: latency, little bandwidth · stop: SIGTERM, restarted
 * · lag: a user's second device reads nothing while much comes for it · erase: a person is erased, and comes back as a
 * new one · replica: Redis gets a replica · clock: Redis' clock is stepped · skew: Redis is killed, and the next one
 * has another clock
 */
export type FaultKind = (typeof faultKinds)[number];
type EventKind = (typeof EVENTS)[number];

export interface PlannedFault {
  readonly kind: FaultKind;
  /** A process, a link ("redis link of NAME", "clients of NAME"), a user, or "redis" itself. */
  readonly target: string;
  /** From the beginning of the run. */
  readonly atMs: number;
  /** How long it lasts; for one that ends by itself, its minimum. */
  readonly durationMs: number;
  /** For "clock" and "skew": how far Redis' clock is ahead of the machine's from then on; negative if behind. */
  readonly shiftMs?: number;
}

export interface FaultTargets {
  /** May be killed and paused. */
  readonly processes: readonly string[];
  /** May be cut, reset, stalled and slowed. */
  readonly links: readonly string[];
  /** May be stopped as planned. */
  readonly stoppable?: readonly string[];
  /** Users with a second device. */
  readonly phoneOwners?: readonly string[];
  /** Users who may be erased. */
  readonly persons?: readonly string[];
  /** Gets replicas, and other clocks if this machine can do that. */
  readonly redis?: { readonly name: string; readonly hasClock: boolean };
}

export interface FaultPlanOptions {
  readonly random: SeededRandom;
  readonly targets: FaultTargets;
  readonly totalMs: number;
  /** Most faults at a time; events come on top, one at a time. */
  readonly lanes?: number;
}

const [SHORTEST_MS, LONGEST_MS] = [300, 9_000];
const [LEAST_GAP_MS, MOST_GAP_MS] = [300, 3_000];
const [LEAST_EVENT_GAP_MS, MOST_EVENT_GAP_MS] = [200, 800];
/** A lag ends before the node gives up the silent connection. */
const EVENT_MS: Readonly<Record<EventKind, readonly [number, number]>> = {
  stop: [2_500, 3_500],
  lag: [2_000, 3_500],
  erase: [500, 1_500],
  replica: [1_500, 4_000],
  clock: [300, 1_000],
  skew: [300, 1_500],
};
/** The bounds of the offset of Redis' clock: each step crosses the right time. */
const [LEAST_SHIFT_MS, MOST_SHIFT_MS] = [15_000, 30_000];

/** @returns in the order of their start */
export function planFaults({ random, targets, totalMs, lanes = 2 }: FaultPlanOptions): PlannedFault[] {
  const planned = planEvents(random, targets, totalMs);
  for (let lane = 0; lane < lanes; lane++) {
    let atMs = random.between(LEAST_GAP_MS, MOST_GAP_MS);
    for (;;) {
      const fault = { ...chooseFault(random, targets), atMs, durationMs: chooseDuration(random) };
      const endMs = atMs + fault.durationMs;
      if (endMs > totalMs) break;
      if (!planned.some((other) => meet(fault, other))) planned.push(fault);
      atMs = endMs + random.between(LEAST_GAP_MS, MOST_GAP_MS);
    }
  }
  return planned.sort((a, b) => a.atMs - b.atMs);
}

function planEvents(random: SeededRandom, targets: FaultTargets, totalMs: number): PlannedFault[] {
  const possible = EVENTS.filter((kind) => targetsOf(kind, targets).length > 0);
  const planned: PlannedFault[] = [];
  if (possible.length === 0) return planned;
  let shiftMs = 0;
  let atMs = random.between(LEAST_GAP_MS, MOST_GAP_MS);
  for (;;) {
    for (const kind of random.shuffled(possible)) {
      const durationMs = random.between(...EVENT_MS[kind]);
      if (atMs + durationMs > totalMs) return planned;
      const target = random.pick(targetsOf(kind, targets));
      if (kind === "clock" || kind === "skew") {
        shiftMs = (shiftMs < 0 ? 1 : -1) * random.between(LEAST_SHIFT_MS, MOST_SHIFT_MS);
        planned.push({ kind, target, atMs, durationMs, shiftMs });
      } else planned.push({ kind, target, atMs, durationMs });
      atMs += durationMs + random.between(LEAST_EVENT_GAP_MS, MOST_EVENT_GAP_MS);
    }
  }
}

function targetsOf(
  kind: EventKind,
  { stoppable = [], phoneOwners = [], persons = [], redis }: FaultTargets,
): readonly string[] {
  switch (kind) {
    case "stop":
      return stoppable;
    case "lag":
      return phoneOwners;
    case "erase":
      return persons;
    case "replica":
      return redis === undefined ? [] : [redis.name];
    case "clock":
    case "skew":
      return redis?.hasClock === true ? [redis.name] : [];
  }
}

function chooseFault(
  random: SeededRandom,
  { processes, links }: FaultTargets,
): Pick<PlannedFault, "kind" | "target"> {
  if (links.length === 0 || random.chance(0.5)) {
    return { kind: random.pick(PROCESS_FAULTS), target: random.pick(processes) };
  }
  return { kind: random.pick(LINK_FAULTS), target: random.pick(links) };
}

/** Mostly short ones, some that outlast the timeouts. */
function chooseDuration(random: SeededRandom): number {
  return Math.round(SHORTEST_MS + (LONGEST_MS - SHORTEST_MS) * random.next() ** 2);
}

function meet(a: PlannedFault, b: PlannedFault): boolean {
  return a.target === b.target && a.atMs <= b.atMs + b.durationMs && b.atMs <= a.atMs + a.durationMs;
}
