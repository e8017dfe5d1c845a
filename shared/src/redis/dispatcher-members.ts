// dispatch/own-partitions -> here: which dispatchers are alive.
// Guarantees: a member that does not renew is gone when its lease is over by Redis' clock; one that leaves is gone
// at once.
import type { Redis } from "./connect.js";
import { clusterKeys } from "./keys.js";
import { readServerTimeMs } from "./server-time.js";

/**
 * Enters or renews a membership.
 * @param dispatcherId name and boot epoch: a restarted dispatcher is another one
 * @returns the ids of all live members, this one among them, in lexical order
 */
export async function renewMembership(
  redis: Redis,
  dispatcherId: string,
  leaseMs: number,
): Promise<string[]> {
  // A delay between the two calls only makes the lease shorter.
  const nowMs = await readServerTimeMs(redis, clusterKeys.dispatchers);
  const results = await redis
    .multi()
    .zadd(clusterKeys.dispatchers, nowMs + leaseMs, dispatcherId)
    .zremrangebyscore(clusterKeys.dispatchers, "-inf", String(nowMs))
    .zrange(clusterKeys.dispatchers, "0", "-1")
    .zrangebyscore(clusterKeys.dispatchers, `(${nowMs + leaseMs}`, "+inf")
    .exec();
  for (const [error] of results ?? []) if (error !== null) throw error;
  const members = (results?.[2]?.[1] ?? []) as string[];
  const ahead = (results?.[3]?.[1] ?? []) as string[];
  // By a clock that has been set back since: one that is dead would stay for so much longer. Who lives renews itself
  // several times a lease, whatever its own is.
  if (ahead.length > 0) {
    await redis.zadd(
      clusterKeys.dispatchers,
      "XX",
      "LT",
      ...ahead.flatMap((member) => [nowMs + leaseMs, member]),
    );
  }
  return members.sort();
}

export async function leaveMembership(redis: Redis, dispatcherId: string): Promise<void> {
  await redis.zrem(clusterKeys.dispatchers, dispatcherId);
}
