// user-routes -> here -> push-node/receive-envelopes: tells the nodes that hold a user's sockets to close them.
// Guarantees: counts only connections whose node listened.
import { encodeDisconnect } from "@petrel/shared/protocol/messages/node-messages";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { publishToNode } from "@petrel/shared/redis/nodes/node-channel";
import { readConnections } from "@petrel/shared/redis/routes/route-store";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

/** @returns how many connections were told */
export async function disconnectUser(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
): Promise<number> {
  const perNode = new Map<string, number>();
  for (const { node } of await readConnections(scripts, keys, userId)) {
    perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const message = encodeDisconnect([userId]);
  const told = await Promise.all(
    [...perNode].map(async ([node, connections]) => {
      const listeners = await publishToNode(scripts.redis, keys, node, message);
      return listeners > 0 ? connections : 0;
    }),
  );
  return told.reduce((sum, connections) => sum + connections, 0);
}
