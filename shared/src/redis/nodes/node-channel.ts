// dispatch/route-messages, collect/disconnect-user -> here -> push-node/receive-envelopes: publishes texts for one
// node.
// Guarantees: texts for one node arrive in the order they are published.
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";

/**
 * Sharded publish: the channel lies in the partition's slot (https://redis.io/docs/latest/commands/spublish/).
 * @param text see protocol/node-messages.ts
 * @returns how many subscribers received it: 0 if nobody listens (here; see findGoneNodes)
 */
export async function publishToNode(
  redis: Redis,
  keys: PartitionKeys,
  nodeId: string,
  text: string,
): Promise<number> {
  return Number(await redis.spublish(keys.channel + nodeId, text));
}
