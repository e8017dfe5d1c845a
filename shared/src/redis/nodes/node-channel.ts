// dispatch/route-messages, collect/disconnect-user -> here -> push-node/receive-envelopes: what is said to one node.
// Guarantees: texts for one node, published one after the other, arrive in that order.
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";

/**
 * Sharded publish: the channel lives in the partition's slot (https://redis.io/docs/latest/commands/spublish/).
 * @param text see protocol/node-messages.ts
 * @returns how many subscribers took it: 0 where nobody listens (here; see findGoneNodes)
 */
export async function publishToNode(
  redis: Redis,
  keys: PartitionKeys,
  nodeId: string,
  text: string,
): Promise<number> {
  return Number(await redis.spublish(keys.channel + nodeId, text));
}
