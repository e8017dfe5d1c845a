// push-node: at a planned stop, before drain-connections; and move-connections -> here -> nodes/mark-leaving.lua.
// Guarantees: from then on these connections do not count against their users' limits: who opens the new socket
// before the old one closes takes nobody's place. Where Redis does not answer soon their clients are asked without it.
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { markLeaving } from "@petrel/shared/redis/nodes/route-store";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";

export interface MarkLeavingDeps {
  readonly scripts: ScriptRunner;
  readonly connections: Iterable<Connection>;
  readonly logger: Logger;
}

/** Who was asked to move already is marked. */
export function notYetMoving(registry: ConnectionRegistry): Connection[] {
  return [...registry.all()].filter(({ isMoving }) => !isMoving);
}

const MAX_PER_CALL = 200;
const PATIENCE_MS = 1_000;

export async function markConnectionsLeaving(deps: MarkLeavingDeps): Promise<void> {
  const byPartition = new Map<PartitionKeys, Connection[]>();
  for (const connection of deps.connections) {
    if (connection.member === "") continue;
    const ofPartition = byPartition.get(connection.keys);
    if (ofPartition === undefined) byPartition.set(connection.keys, [connection]);
    else ofPartition.push(connection);
  }
  const calls: Promise<void>[] = [];
  for (const [keys, connections] of byPartition) {
    for (let start = 0; start < connections.length; start += MAX_PER_CALL) {
      calls.push(markBatch(deps, keys, connections.slice(start, start + MAX_PER_CALL)));
    }
  }
  // Only the limit of connections depends on it: nobody waits for a Redis that hangs.
  const late = new Promise<void>((resolve) => setTimeout(resolve, PATIENCE_MS).unref());
  await Promise.race([Promise.all(calls), late]);
}

async function markBatch(
  { scripts, logger }: MarkLeavingDeps,
  keys: PartitionKeys,
  connections: readonly Connection[],
): Promise<void> {
  try {
    const before = connections.map(({ userId, member }) => ({ userId, member }));
    const members = await markLeaving(scripts, keys, before);
    for (const [i, connection] of connections.entries()) {
      // It may have registered again in the meantime, and has its new member then.
      if (connection.member === before[i]?.member) connection.member = members[i] ?? connection.member;
    }
  } catch (error) {
    logger.warn({ reason: describeError(error) }, "connections not marked as leaving");
  }
}
