// push-node/leave/{drain-connections, move-connections} -> here -> routes/mark-leaving.lua: runs before clients are
// asked to move.
// Guarantees: from then on these connections do not count against their users' limits: a client may open the new socket
// before the old one closes. If Redis does not answer soon, clients are asked to move without it.
import { describeError } from "@petrel/shared/kernel/errors";
import { groupBy } from "@petrel/shared/kernel/group-by";
import { inSlices } from "@petrel/shared/kernel/in-slices";
import { pause } from "@petrel/shared/kernel/pause";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { markLeaving } from "@petrel/shared/redis/routes/route-store";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";

export interface MarkLeavingDeps {
  readonly scripts: ScriptRunner;
  readonly connections: Iterable<Connection>;
  readonly logger: Logger;
}

/** Without those that were asked to move, which are marked already. */
export function notYetMoving(registry: ConnectionRegistry): Connection[] {
  return [...registry.all()].filter(({ isMoving }) => !isMoving);
}

const MAX_PER_CALL = 200;
const PATIENCE_MS = 1_000;

export async function markConnectionsLeaving(deps: MarkLeavingDeps): Promise<void> {
  const registered = [...deps.connections].filter(({ member }) => member !== "");
  const calls = [...groupBy(registered, ({ keys }) => keys)].flatMap(([keys, connections]) =>
    inSlices(connections, MAX_PER_CALL).map((slice) => markBatch(deps, keys, slice)),
  );
  // Only the connection limit depends on it, so a Redis that hangs must not delay anything.
  const inTime = new AbortController();
  await Promise.race([Promise.all(calls), pause(PATIENCE_MS, inTime.signal)]);
  inTime.abort();
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
      // A connection that has registered again meanwhile has a new member already.
      if (connection.member === before[i]?.member) connection.member = members[i] ?? connection.member;
    }
  } catch (error) {
    logger.warn({ reason: describeError(error) }, "connections not marked as leaving");
  }
}
