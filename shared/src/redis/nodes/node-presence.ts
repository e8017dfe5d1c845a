// push-node/announce-node -> here -> dispatch: a key that says that a node lives.
// Guarantees: the key ends by itself where nobody renews it, so a node that died is seen within its time to live; it is
// set and renewed where Redis is out of memory, too.
import type { Redis } from "../connection/connect.js";
import { clusterKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/**
 * Sets the node's key, or renews it.
 * @param nodeId name and boot epoch: a restarted node is another one
 * @param ttlMs how long the node counts as alive without the next call
 * @returns whether the key was there: if not, others may have taken this node for gone
 */
export async function announceNode(scripts: ScriptRunner, nodeId: string, ttlMs: number): Promise<boolean> {
  return (await scripts.run("announce.v1", [clusterKeys.node(nodeId)], [ttlMs])) === "1";
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
