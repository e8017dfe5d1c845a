// collect -> here -> read-last-seen.lua: which users are connected, and when the others last were.
// Guarantees: one call for many users of a partition.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** `lastSeenAtMs`: the end of the last connection, by Redis's clock; undefined while connected, or if unknown. */
export interface LastSeen {
  readonly isOnline: boolean;
  readonly lastSeenAtMs: number | undefined;
}

/** @returns one for each user, in order; at most 200 per call */
export async function readLastSeen(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userIds: readonly string[],
): Promise<LastSeen[]> {
  const answer = await scripts.run(
    "read-last-seen.v1",
    userIds.flatMap((userId) => [keys.routes(userId), keys.user(userId)]),
    [],
  );
  return answer.split("\n").map((line) => ({
    isOnline: line === "+",
    lastSeenAtMs: line === "+" || line === "" ? undefined : Number(line),
  }));
}
