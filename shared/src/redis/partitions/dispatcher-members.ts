// dispatch/own-partitions -> here: which dispatchers are alive.
// Guarantees: a member that does not renew is gone when its lease is over by Redis' clock; one that leaves is gone at
// once. Both also hold where Redis is out of memory.
import type { Redis } from "../connection/connect.js";
import { clusterKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/**
 * Enters or renews a membership.
 * @param dispatcherId name and boot epoch: a restarted dispatcher has another one
 * @returns the ids of all live members, this one included, in lexical order
 */
export async function renewMembership(
  scripts: ScriptRunner,
  dispatcherId: string,
  leaseMs: number,
): Promise<string[]> {
  const members = await scripts.runForList(
    "renew-member.v1",
    [clusterKeys.dispatchers],
    [dispatcherId, leaseMs],
  );
  return members.sort();
}

export async function leaveMembership(redis: Redis, dispatcherId: string): Promise<void> {
  await redis.zrem(clusterKeys.dispatchers, dispatcherId);
}
