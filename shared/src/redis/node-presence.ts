// push-node/announce-node -> here -> dispatch: a key that says that a node lives.
// Guarantees: the key ends by itself where nobody renews it, so a node that died is seen within its time to live.
import type { Redis } from "./connect.js";
import { clusterKeys } from "./keys.js";

/**
 * Sets the node's key, or renews it.
 * @param nodeId name and boot epoch: a restarted node is another one
 * @param ttlMs how long the node counts as alive without the next call
 * @returns whether the key was there: if not, others may have taken this node for gone
 */
export async function announceNode(redis: Redis, nodeId: string, ttlMs: number): Promise<boolean> {
  // Renewing by PEXPIRE works also where Redis is out of memory and refuses SET: no node is gone for that.
  const renewed = await redis.pexpire(clusterKeys.node(nodeId), ttlMs);
  if (renewed === 1) return true;
  await redis.set(clusterKeys.node(nodeId), "1", "PX", ttlMs);
  return false;
}

/** At a planned stop: nobody need wait for the key's end. */
export async function withdrawNode(redis: Redis, nodeId: string): Promise<void> {
  await redis.del(clusterKeys.node(nodeId));
}

/** @returns those of these nodes whose key is not there (any more) */
export async function findGoneNodes(redis: Redis, nodeIds: readonly string[]): Promise<string[]> {
  // One call a node: on a cluster their keys live in different slots.
  const found = await Promise.all(nodeIds.map((nodeId) => redis.exists(clusterKeys.node(nodeId))));
  return nodeIds.filter((_, i) => found[i] === 0);
}
