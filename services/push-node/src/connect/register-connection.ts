// connect-route -> open-connection -> here -> nodes/connect.lua -> catch-up: gives a connection its place.
// Guarantees: the connection stands in the registry before its route is written, so that no message falls between the
// two; what it missed before comes from the inbox.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import { lineageOf } from "@petrel/shared/protocol/messages/stored-message";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import {
  connectRoute,
  readConnections,
  removeRoute,
  type ConnectResult,
  type RouteLimits,
} from "@petrel/shared/redis/nodes/route-store";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { CheckEpoch } from "../deliver/check-epoch.js";
import type { CatchUp } from "../deliver/catch-up.js";
import { closeReplaced } from "../connection/close-replaced.js";
import { closeRevoked } from "../connection/close-revoked.js";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import type { MoveConnections } from "../leave/move-connections.js";
import type { ResumePosition } from "./read-handshake.js";

export interface RegisterDeps {
  readonly scripts: ScriptRunner;
  readonly registry: ConnectionRegistry;
  readonly catchUp: CatchUp;
  readonly checkEpoch: CheckEpoch;
  readonly logger: Logger;
  readonly nodeId: string;
  readonly pingSeconds: number;
  readonly limits: RouteLimits;
  /** For how long the user of a closed connection counts as on the way back. */
  readonly graceMs: number;
  readonly isDraining: () => boolean;
  readonly moves: Pick<MoveConnections, "move">;
  /** What the clock of a partition's master says now, ms; undefined where that is not known. */
  readonly redisNowMs: (keys: PartitionKeys) => number | undefined;
}

/** As long as a command is waited for: then the client is told to come again, and does. */
const PATIENCE_MS = 5_000;

/** What this release of the node can do, for clients that ask before they use it. */
const FEATURES: readonly string[] = ["ack", "resume"];

/**
 * Whatever becomes of it, the connection stays in the registry until its socket is gone: `unregisterConnection`.
 * @throws what ioredis throws where Redis does not answer
 */
export async function registerConnection(
  deps: RegisterDeps,
  connection: Connection,
  position: ResumePosition | undefined,
): Promise<void> {
  const { nodeId, pingSeconds, limits } = deps;
  deps.registry.add(connection);
  let result: ConnectResult;
  try {
    result = await connectInTime(deps, connection, position === undefined ? {} : { position });
  } catch (error) {
    void forgetRoute(deps, connection);
    throw error;
  }
  if (result.outcome !== "connected") {
    if (result.outcome === "revoked") closeRevoked(connection);
    else if (result.outcome === "elsewhere") closeReplaced(connection, "elsewhere", result.platform);
    else
      connection.fail(
        closeCodes.tooMany,
        "PETREL_TOO_MANY_CONNECTIONS",
        `This user has ${limits.maxConnectionsPerUser} connections already.`,
        "backoff",
      );
    return;
  }
  const { member, epoch, seq, after, resumed, isHeld } = result;
  connection.member = member;
  connection.connectTimeMs = Number(member.slice(0, member.indexOf("/")));
  if (!connection.isOpen) {
    // Its close began while the script ran: where its socket is gone already, no member was seen then.
    await releaseRoute(deps, connection);
    return;
  }
  connection.epoch = epoch;
  connection.lastSent = after;
  connection.lastDelivered = after;
  connection.acked = after;
  connection.isHeld = isHeld;
  connection.phase = "catching-up";
  connection.send({
    type: "welcome",
    connection: connection.id,
    node: nodeId,
    user: connection.userId,
    epoch,
    seq,
    after,
    resumed,
    pingSeconds,
    features: FEATURES,
  });
  if (connection.targetSeq > seq && connection.targetEpoch !== epoch && connection.targetEpoch !== "") {
    if (!(await deps.checkEpoch(connection, connection.targetEpoch))) return;
  }
  connection.targetSeq = Math.max(connection.targetSeq, seq);
  deps.catchUp(connection);
  if (connection.mustRegisterAgain) await reRegisterConnection(deps, connection);
}

/**
 * Makes sure that a connection's route stands, after it may have been lost, and that its token is still good, and brings
 * it up to date: after a heartbeat that did not find it, a resubscription, a pause.
 */
export async function reRegisterConnection(deps: RegisterDeps, connection: Connection): Promise<void> {
  if (!connection.isOpen) return;
  if (connection.phase === "registering") {
    // Its script may have run before the loss: what it answers is then not the inbox's end any more.
    connection.readToEnd = true;
    connection.mustRegisterAgain = true;
    return;
  }
  // A fresh token that is being checked is not looked at here, and its revocation may have been missed: once more then.
  connection.mustRegisterAgain = connection.renewal !== undefined;
  const result = await connect(deps, connection, { connectTimeMs: connection.connectTimeMs });
  if (!connection.isOpen) {
    if (result.outcome === "connected") await releaseRoute(deps, connection);
    return;
  }
  if (result.outcome !== "connected") {
    if (result.outcome === "revoked") closeRevoked(connection);
    else if (result.outcome === "elsewhere") closeReplaced(connection, "elsewhere", result.platform);
    else closeReplaced(connection, "limit", "");
    return;
  }
  if (result.epoch !== connection.epoch) {
    const kind = lineageOf(result.epoch) === lineageOf(connection.epoch) ? "generation" : "lineage";
    deps.logger.debug({ connection: connection.id, kind }, "epoch changed: the client is to move");
    connection.nextEpoch = result.epoch;
    // Acks of the former epoch count no more: what is open can end only where the client comes back to.
    if (!deps.isDraining()) deps.moves.move(connection, result.acked < result.seq);
  }
  connection.member = result.member;
  // Of the former epoch, too: what it numbered is this connection's; what the new one did sends its client away at once.
  connection.targetSeq = Math.max(connection.targetSeq, result.seq);
  deps.catchUp(connection);
}

/** Takes a connection out: its socket is gone. */
export async function unregisterConnection(deps: RegisterDeps, connection: Connection): Promise<void> {
  deps.registry.delete(connection);
  if (connection.member !== "") await releaseRoute(deps, connection);
}

async function releaseRoute(
  { scripts, graceMs, logger }: RegisterDeps,
  connection: Connection,
): Promise<void> {
  const { keys, userId, member, isExpectedBack } = connection;
  try {
    await removeRoute(scripts, keys, userId, member, isExpectedBack ? graceMs : 0);
  } catch (error) {
    // Its lease ends by itself; until then a message for it goes to a channel where nobody knows it.
    logger.debug({ connection: connection.id, reason: describeError(error) }, "route not removed");
  }
}

/**
 * Where the connect script's answer is missing, it may have run all the same, or run later: a route that nobody
 * renews, but which counts against the user's limit until its lease ends.
 */
async function forgetRoute(
  { scripts, nodeId, limits, graceMs, logger }: RegisterDeps,
  { keys, userId, id }: Connection,
): Promise<void> {
  const deadlineMs = performance.now() + limits.leaseMs;
  for (let attempt = 0; performance.now() < deadlineMs; attempt++) {
    await new Promise((resolve) =>
      setTimeout(resolve, 50 + backoffMs(attempt, { baseMs: 100, capMs: 2_000 })),
    );
    try {
      const routes = await readConnections(scripts, keys, userId);
      const route = routes.find(({ node, id: other }) => node === nodeId && other === id);
      if (route !== undefined) await removeRoute(scripts, keys, userId, route.member, graceMs);
      return;
    } catch (error) {
      logger.debug({ connection: id, reason: describeError(error) }, "route not forgotten yet");
    }
  }
}

/**
 * A call that hangs on a dead link and is run long after: its client has come by another way since, and would be closed
 * as the older sign-in.
 */
async function connectInTime(
  deps: RegisterDeps,
  connection: Connection,
  how: { readonly position?: ResumePosition },
): Promise<ConnectResult> {
  const nowMs = deps.redisNowMs(connection.keys);
  const notAfterMs = nowMs === undefined ? undefined : nowMs + PATIENCE_MS;
  const result = await connect(deps, connection, { ...how, notAfterMs });
  // Who still waits for the answer knows better: it is Redis' clock that is another one than before.
  return result.outcome === "late" ? connect(deps, connection, how) : result;
}

function connect(
  { scripts, nodeId, limits, isDraining }: RegisterDeps,
  { keys, userId, id, platform, token, isMoving }: Connection,
  how: {
    readonly position?: ResumePosition;
    readonly connectTimeMs?: number;
    readonly notAfterMs?: number | undefined;
  },
): Promise<ConnectResult> {
  const route = {
    userId,
    node: nodeId,
    connection: id,
    platform,
    token,
    isLeaving: isMoving || isDraining(),
    ...how,
  };
  return connectRoute(scripts, keys, route, limits);
}
