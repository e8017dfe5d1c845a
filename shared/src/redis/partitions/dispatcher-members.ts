// dispatch/own-partitions, dispatch/fallback/paused-channels -> here: which dispatchers are alive.
// Guarantees: a member that does not renew is gone when its lease is over by Redis's clock; one that leaves is gone at
// once. Both also work if Redis is out of memory.
import type { Redis } from "../connection/connect.js";
import { readServerTimeMs } from "../connection/server-time.js";
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

/** The same for one that only sends: it owns no partitions, so it is listed separately. */
export async function renewSender(
  scripts: ScriptRunner,
  dispatcherId: string,
  leaseMs: number,
): Promise<void> {
  await scripts.runForList("renew-member.v1", [clusterKeys.senders], [dispatcherId, leaseMs]);
}

export async function leaveSenders(redis: Redis, dispatcherId: string): Promise<void> {
  await redis.zrem(clusterKeys.senders, dispatcherId);
}

/** @returns the ids of all live dispatchers, of any role */
export async function readDispatchers(redis: Redis): Promise<string[]> {
  const nowMs = await readServerTimeMs(redis, clusterKeys.senders);
  const all = await Promise.all(
    [clusterKeys.dispatchers, clusterKeys.senders].map((key) =>
      redis.zrangebyscore(key, `(${nowMs}`, "+inf"),
    ),
  );
  return all.flat().sort();
}
