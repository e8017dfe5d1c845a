// archiver, archive-view -> here: whether a partition's open rows need another search.
// Guarantees: every loss of Redis's data, and every request, is answered by a search that began after it.
import type { RedriveProgress } from "@petrel/shared/archive/message-archive";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

/** Whether a full search has ended since Redis last lost data and since an operator last asked. */
export function isAnswered(
  { generation: searched, askedAtMs, answeredMs }: RedriveProgress,
  generation: string,
): boolean {
  return searched === generation && askedAtMs === answeredMs;
}

/** Changes with each loss of data, and occasionally without one. @returns undefined if nothing has been written yet */
export async function readGeneration(
  { redis }: Pick<ScriptRunner, "redis">,
  keys: PartitionKeys,
): Promise<string | undefined> {
  const [n, replid] = await redis.hmget(keys.generation, "n", "replid");
  return typeof n === "string" && typeof replid === "string" ? `${n}:${replid}` : undefined;
}
