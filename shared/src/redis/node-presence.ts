// push-node/announce-node -> here -> dispatch: a key that says that a node lives.
// Guarantees: the key ends by itself where nobody renews it, so a node that died is seen within its time to live.
import type { Redis } from "./connect.js";
import { clusterKeys } from "./keys.js";

/**
 * Sets the node's key, or renews it.
 * @param nodeId name and boot epoch: a restarted node is another one
 * @param ttlMs how long the node counts as alive without the next call
 */
export async function announceNode(redis: Redis, nodeId: string, ttlMs: number): Promise<void> {
  // Renewing by PEXPIRE works also where Redis is out of memory and refuses SET: no node is gone for that.
  const renewed = await redis.pexpire(clusterKeys.node(nodeId), ttlMs);
  if (renewed === 0) await redis.set(clusterKeys.node(nodeId), "1", "PX", ttlMs);
}

/** At a planned stop: nobody need wait for the key's end. */
export async function withdrawNode(redis: Redis, nodeId: string): Promise<void> {
  await redis.del(clusterKeys.node(nodeId));
}

export async function nodeIsAnnounced(redis: Redis, nodeId: string): Promise<boolean> {
  return (await redis.exists(clusterKeys.node(nodeId))) === 1;
}
