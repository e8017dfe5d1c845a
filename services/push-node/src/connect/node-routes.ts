// push-node/connect/{register-connection, renew-leases} -> here -> routes/{route-batches, connect-routes,
// route-store}: this node's routes in Redis.
// Guarantees: a route without a connection is removed, whether its socket closed meanwhile or the script's answer was
// lost.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { pause } from "@petrel/shared/kernel/pause";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { RouteBatches } from "@petrel/shared/redis/routes/route-batches";
import {
  isFormerlyRevoked,
  type ConnectResult,
  type RouteLimits,
} from "@petrel/shared/redis/routes/connect-routes";
import { readConnections, removeRoute, renewRoutes } from "@petrel/shared/redis/routes/route-store";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Connection } from "../connection/connection.js";
import type { UserConnects } from "./limit-connects.js";
import type { ResumePosition } from "./read-handshake.js";

export interface NodeRoutesOptions {
  readonly scripts: ScriptRunner;
  readonly nodeId: string;
  readonly limits: RouteLimits;
  /** Limits how often a user may connect. */
  readonly userConnects: UserConnects;
  /** How long the user of a closed connection counts as about to return. */
  readonly graceMs: number;
  readonly isDraining: () => boolean;
  /** The clock of a partition's master now, ms; undefined if unknown. */
  readonly redisNowMs: (keys: PartitionKeys) => number | undefined;
  readonly logger: Logger;
}

interface RouteWishes {
  readonly position?: ResumePosition;
  readonly connectTimeMs?: number;
  readonly notAfterMs?: number | undefined;
}

/** As long as the command timeout; then the client is told to come again, and does. */
const PATIENCE_MS = 5_000;

export class NodeRoutes {
  readonly #options: NodeRoutesOptions;
  readonly #batches: RouteBatches;

  constructor(options: NodeRoutesOptions) {
    this.#options = options;
    const { scripts, nodeId: node, limits, userConnects, isDraining: isStopping } = options;
    this.#batches = new RouteBatches({
      scripts,
      isStopping,
      node,
      limits: { ...limits, connectsPerMinute: userConnects.perMinute },
    });
  }

  get limits(): RouteLimits {
    return this.#options.limits;
  }

  /**
   * Writes a new connection's route.
   * @throws what ioredis throws if Redis does not answer
   */
  async add(connection: Connection, position: ResumePosition | undefined): Promise<ConnectResult> {
    const { userConnects } = this.#options;
    const wishes = position === undefined ? {} : { position };
    userConnects.asked();
    try {
      const result = await this.#connectInTime(connection, wishes);
      if (result.outcome === "too-often") userConnects.refused(connection.userId, result.retryAfterMs);
      return result;
    } catch (error) {
      userConnects.unanswered();
      void this.#forget(connection);
      throw error;
    }
  }

  /**
   * Rewrites a route that may have been lost, with its connection's original age.
   * @throws what ioredis throws if Redis does not answer
   */
  addAgain(connection: Connection): Promise<ConnectResult> {
    return this.#connect(connection, { connectTimeMs: connection.connectTimeMs });
  }

  /** @returns the indices in `batch` of those that are no longer registered */
  renew(keys: PartitionKeys, batch: readonly Connection[], keepsRoutes: boolean): Promise<number[]> {
    const { scripts, limits } = this.#options;
    return renewRoutes(scripts, keys, batch, { leaseMs: limits.leaseMs, keepsRoutes });
  }

  async remove({ id, keys, userId, member, isExpectedBack }: Connection): Promise<void> {
    const { graceMs, logger } = this.#options;
    try {
      await this.#batches.remove(keys, { userId, member, graceMs: isExpectedBack ? graceMs : 0 });
    } catch (error) {
      // Its lease expires by itself; until then its messages reach a node that does not know it.
      logger.debug({ connection: id, reason: describeError(error) }, "route not removed");
    }
  }

  /**
   * The script may have run although its answer is missing, or may run later. Nobody would renew its route, but the
   * route would count against the user's limit until its lease ends.
   */
  async #forget({ keys, userId, id }: Connection): Promise<void> {
    const { scripts, nodeId, limits, graceMs, logger } = this.#options;
    const deadlineMs = performance.now() + limits.leaseMs;
    for (let attempt = 0; performance.now() < deadlineMs; attempt++) {
      await pause(50 + backoffMs(attempt, { baseMs: 100, capMs: 2_000 }));
      try {
        const routes = await readConnections(scripts, keys, userId);
        const route = routes.find(({ node, id: other }) => node === nodeId && other === id);
        if (route !== undefined) await removeRoute(scripts, keys, userId, route.member, graceMs);
        return;
      } catch (error) {
        logger.debug({ connection: id, reason: describeError(error) }, "route not removed yet");
      }
    }
  }

  /**
   * With a deadline: a call that hangs on a dead link and runs long afterwards would replace the connection that the
   * client has opened elsewhere since.
   */
  async #connectInTime(connection: Connection, wishes: RouteWishes): Promise<ConnectResult> {
    const nowMs = this.#options.redisNowMs(connection.keys);
    const notAfterMs = nowMs === undefined ? undefined : nowMs + PATIENCE_MS;
    const result = await this.#connect(connection, { ...wishes, notAfterMs });
    // The answer was still awaited, so the call was not late: Redis's clock was set, or another master's is ahead.
    return result.outcome === "late" ? this.#connect(connection, wishes) : result;
  }

  async #connect(
    { keys, userId, id, platform, token, isMoving }: Connection,
    wishes: RouteWishes,
  ): Promise<ConnectResult> {
    const { scripts, nodeId, isDraining } = this.#options;
    const route = {
      userId,
      node: nodeId,
      connection: id,
      platform,
      token,
      isLeaving: isMoving || isDraining(),
      ...wishes,
    };
    if (token.formerNames !== undefined && (await isFormerlyRevoked(scripts, keys, route)))
      return { outcome: "revoked" };
    return this.#batches.connect(keys, route);
  }
}
