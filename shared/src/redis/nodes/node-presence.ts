// push-node/announce-node -> here -> dispatch: a key that shows that a node is alive.
// Guarantees: the key expires unless it is renewed, so a dead node shows within the key's TTL. It can be set and
// renewed even if Redis is out of memory.
import type { Redis } from "../connection/connect.js";
import { clusterKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/**
 * Sets or renews the node's key.
 * @param nodeId name and boot epoch: a restarted node has another one
 * @param ttlMs how long the node counts as alive without another call
 * @returns whether the key existed; if not, others may have taken this node for gone
 */
export async function announceNode(scripts: ScriptRunner, nodeId: string, ttlMs: number): Promise<boolean> {
  return (await scripts.run("announce.v1", [clusterKeys.node(nodeId)], [ttlMs])) === "1";
}

/** For a planned stop: nobody has to wait for the key to expire. */
export async function withdrawNode(redis: Redis, nodeId: string): Promise<void> {
  await redis.del(clusterKeys.node(nodeId));
}

/** @returns those of these nodes that have no key (any more) */
export async function findGoneNodes(redis: Redis, nodeIds: readonly string[]): Promise<string[]> {
  // One call per node: on a cluster their keys lie in different slots.
  const found = await Promise.all(nodeIds.map((nodeId) => redis.exists(clusterKeys.node(nodeId))));
  return nodeIds.filter((_, i) => found[i] === 0);
}
