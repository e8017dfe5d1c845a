// push-node/announce-node -> here -> dispatch: a key that says that a node is alive.
// Guarantees: the key ends by itself when nobody renews it, so a dead node shows within the key's time to live; the key
// is set and renewed even where Redis is out of memory.
import type { Redis } from "../connection/connect.js";
import { clusterKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/**
 * Sets the node's key, or renews it.
 * @param nodeId name and boot epoch: a restarted node has another one
 * @param ttlMs how long the node counts as alive without the next call
 * @returns whether the key was there: if not, others may have taken this node for gone
 */
export async function announceNode(scripts: ScriptRunner, nodeId: string, ttlMs: number): Promise<boolean> {
  return (await scripts.run("announce.v1", [clusterKeys.node(nodeId)], [ttlMs])) === "1";
}

/** For a planned stop: nobody need wait for the key's end. */
export async function withdrawNode(redis: Redis, nodeId: string): Promise<void> {
  await redis.del(clusterKeys.node(nodeId));
}

/** @returns those of these nodes that have no key (any more) */
export async function findGoneNodes(redis: Redis, nodeIds: readonly string[]): Promise<string[]> {
  // One call a node: on a cluster their keys lie in different slots.
  const found = await Promise.all(nodeIds.map((nodeId) => redis.exists(clusterKeys.node(nodeId))));
  return nodeIds.filter((_, i) => found[i] === 0);
}
