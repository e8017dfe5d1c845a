// push-node/start-push-node -> here -> push-node/leave/{mark-connections-leaving, drain-connections}: what a planned
// stop does with this node's clients.
import { drainConnections, type DrainDeps } from "./drain-connections.js";
import { markConnectionsLeaving, notYetMoving } from "./mark-connections-leaving.js";
import type { MoveConnections } from "./move-connections.js";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface LeaveNodeOptions extends DrainDeps {
  readonly scripts: ScriptRunner;
  readonly moves: MoveConnections;
}

/** Resolves once no connection is left. */
export async function leaveNode(options: LeaveNodeOptions): Promise<void> {
  const { scripts, moves, registry, logger } = options;
  moves.stop();
  await markConnectionsLeaving({ scripts, connections: notYetMoving(registry), logger });
  await drainConnections(options);
}
