// chaos: which faults there will be, when, and for how long.
// Guarantees: a pure function of the seed; two faults never befall the same target at once; all are over at the end.
import type { SeededRandom } from "@petrel/shared/testing/seeded-random";

export const faultKinds = ["kill", "pause", "cut", "reset", "stall", "deafen", "slow"] as const;

/**
 * kill: SIGKILL, started again · pause: SIGSTOP, SIGCONT · cut: connections closed, new ones too · reset: the same
 * with RST · stall: silence · deafen: silence towards one side only · slow: latency, little bandwidth
 */
export type FaultKind = (typeof faultKinds)[number];

export interface PlannedFault {
  readonly kind: FaultKind;
  /** A process, a link ("redis link of NAME", "clients of NAME"), or "redis" itself. */
  readonly target: string;
  /** From the beginning of the run. */
  readonly atMs: number;
  /** How long it lasts; for a kill: until it is started again. */
  readonly durationMs: number;
}

export interface FaultTargets {
  /** May be killed and paused. */
  readonly processes: readonly string[];
  /** May be cut, reset, stalled and slowed. */
  readonly links: readonly string[];
}

export interface FaultPlanOptions {
  readonly random: SeededRandom;
  readonly targets: FaultTargets;
  readonly totalMs: number;
  /** At a time, at most. */
  readonly lanes?: number;
}

const PROCESS_FAULTS = ["kill", "pause"] as const satisfies readonly FaultKind[];
const LINK_FAULTS = ["cut", "reset", "stall", "deafen", "slow"] as const satisfies readonly FaultKind[];
const [SHORTEST_MS, LONGEST_MS] = [300, 9_000];
const [LEAST_GAP_MS, MOST_GAP_MS] = [300, 3_000];

/** @returns in the order of their beginning */
export function planFaults({ random, targets, totalMs, lanes = 2 }: FaultPlanOptions): PlannedFault[] {
  const planned: PlannedFault[] = [];
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
