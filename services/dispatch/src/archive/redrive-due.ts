// archiver, archive-view -> here: whether a partition's open rows are to be gone through.
// Guarantees: a loss of Redis' data, and each asking, is answered by a search that began after it.
import type { RedriveProgress } from "@petrel/shared/archive/message-archive";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

/** Whether all was looked for since Redis last lost data, and since somebody last asked. */
export function isAnswered(
  { generation: searched, askedAtMs, answeredMs }: RedriveProgress,
  generation: string,
): boolean {
  return searched === generation && askedAtMs === answeredMs;
}

/** Another text after each loss of data, and now and then without one. @returns undefined: nothing was written yet */
export async function readGeneration(
  { redis }: Pick<ScriptRunner, "redis">,
  keys: PartitionKeys,
): Promise<string | undefined> {
  const [n, replid] = await redis.hmget(keys.generation, "n", "replid");
  return typeof n === "string" && typeof replid === "string" ? `${n}:${replid}` : undefined;
}
