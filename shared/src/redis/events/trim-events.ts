// dispatch/trim-partitions -> here -> events/trim-events.lua: removes events past their retention.
// Guarantees: fenced; a reader whose position was dropped is told.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface TrimmedEvents {
  readonly dropped: number;
  readonly kept: number;
  /** The age of the oldest kept event. */
  readonly oldestAgeMs: number;
}

/** @returns stale: the token is not the owner's (nothing was changed) */
export async function trimEvents(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  keepMs: number,
): Promise<TrimmedEvents | "stale"> {
  const answer = await scripts.run(
    "trim-events.v1",
    [keys.owner, keys.events, keys.eventLog],
    [token, keepMs],
  );
  if (answer === "stale") return answer;
  const [dropped = 0, kept = 0, oldestAgeMs = 0] = answer.split("\t").map(Number);
  return { dropped, kept, oldestAgeMs };
}
