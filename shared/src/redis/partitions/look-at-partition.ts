// dispatch/partition-signs -> here -> partitions/look.lua: whether there is anything to do in a partition.
// Guarantees: only its owner is told; the clock is noted as by keep-time.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import type { PartitionTime } from "./keep-time.js";

export interface PartitionLook extends PartitionTime {
  /** When the first user is due, by Redis's clock; Infinity if nobody is. */
  readonly firstDueMs: number;
  /** When the first scheduled message is due, by Redis's clock; Infinity if there is none. */
  readonly firstScheduledMs: number;
  /** Whether a node has reported somebody's presence. */
  readonly hasHolders: boolean;
}

/** @returns "stale" if the token is no longer the owner's (nothing was changed) */
export async function lookAtPartition(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
): Promise<PartitionLook | "stale"> {
  const answer = await scripts.run(
    "look.v2",
    [keys.owner, keys.generation, keys.due, keys.scheduled, keys.presenceLeases],
    [token],
  );
  if (answer === "stale") return answer;
  const [now, back, due = "", scheduled = "", holders] = answer.split("\t");
  return {
    nowMs: Number(now),
    backMs: Number(back),
    firstDueMs: timeOf(due),
    firstScheduledMs: timeOf(scheduled),
    hasHolders: holders !== "0",
  };
}

function timeOf(score: string): number {
  return score === "" ? Number.POSITIVE_INFINITY : Number(score);
}
