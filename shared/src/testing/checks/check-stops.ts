// check-history -> here: what a business system sees of a planned stop.
// Guarantees: as check-history. Only connections in use are judged: a longer idle one may be closed, and a new one is
// the balancer's business.
import type { AttemptRecord, FaultRecord, History } from "../peers/message-recorder.js";
import type { Violation } from "./violation.js";

export interface StopFindings {
  readonly violations: readonly Violation[];
  /** Requests over kept connections to a process that was stopping. */
  readonly keptDuringStops: number;
}

/** A connection with an answer this recent is in use. */
const IN_USE_MS = 1_000;
/** A 503 may be the late answer to a fault that is over. */
const AFTERMATH_MS = 10_000;
/** The producer's own words: it has waited long enough. */
const GAVE_UP = "no answer in time";

export function checkStops({ attempts, faults }: History): StopFindings {
  const stops = faults.filter(({ kind }) => kind === "stop");
  const kept = attempts.filter((attempt) => isInUse(attempt) && stops.some((stop) => meets(stop, attempt)));
  return {
    violations: kept.flatMap((attempt): Violation[] => {
      const { target, idleMs = 0, status, problem } = attempt;
      const isCut = problem !== undefined && problem !== GAVE_UP && !isExplained(faults, attempt);
      const isRefused = status === 503 && !hadTrouble(faults, attempt);
      if (!isCut && !isRefused) return [];
      const detail = `${target}: ${problem ?? "503"}, idle for ${Math.round(idleMs)} ms`;
      return [{ kind: "stop-refused", detail }];
    }),
    keptDuringStops: kept.length,
  };
}

function isInUse({ idleMs }: AttemptRecord): boolean {
  return idleMs !== undefined && idleMs <= IN_USE_MS;
}

/** Whether the process was killed or paused meanwhile. */
function isExplained(faults: readonly FaultRecord[], attempt: AttemptRecord): boolean {
  return faults.some((fault) => (fault.kind === "kill" || fault.kind === "pause") && meets(fault, attempt));
}

/** Whether anything but stops befell the cluster: that may explain a refusal. */
function hadTrouble(faults: readonly FaultRecord[], { startedAtMs, endedAtMs }: AttemptRecord): boolean {
  return faults.some(
    ({ kind, atMs, endedAtMs: overMs }) =>
      kind !== "stop" && atMs <= endedAtMs && overMs + AFTERMATH_MS >= startedAtMs,
  );
}

function meets(fault: FaultRecord, { target, startedAtMs, endedAtMs }: AttemptRecord): boolean {
  return fault.target === target && fault.atMs <= endedAtMs && fault.endedAtMs >= startedAtMs;
}
