// push-node/connect/open-connection -> here -> push-node/connect/node-routes, push-node/deliver/catch-up: registers a
// connection and brings it up to date.
// Guarantees: the connection is in the registry before its route is written, so that no message falls between the two.
// What it missed before comes from the inbox.
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import { encodeServerFrame, type WelcomeFrame } from "@petrel/shared/protocol/frames/server-frames";
import { lineageOf } from "@petrel/shared/protocol/messages/stored-message";
import type { ConnectResult } from "@petrel/shared/redis/routes/connect-routes";
import { closeReplaced } from "../connection/close-replaced.js";
import { closeRevoked } from "../connection/close-revoked.js";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import type { CatchUp } from "../deliver/catch-up.js";
import type { CheckEpoch } from "../deliver/check-epoch.js";
import { encodeTextFrame } from "../connection/encode-text-frame.js";
import type { MoveConnections } from "../leave/move-connections.js";
import { recallAgain, welcomeRecalls } from "../recall/tell-recalls.js";
import type { KeptTopics } from "../topics/kept-topics.js";
import { closeTooOften } from "./limit-connects.js";
import type { NodeRoutes } from "./node-routes.js";
import type { BroadcastPosition, ResumePosition } from "./read-handshake.js";

export interface RegisterOptions {
  readonly registry: ConnectionRegistry;
  readonly routes: NodeRoutes;
  readonly catchUp: CatchUp;
  readonly checkEpoch: CheckEpoch;
  readonly moves: Pick<MoveConnections, "move">;
  readonly topics: Pick<KeptTopics, "asking" | "answered" | "welcome">;
  readonly isDraining: () => boolean;
  /** The constant fields of each `welcome`. */
  readonly welcome: Pick<WelcomeFrame, "node" | "pingSeconds" | "ackWithinMs">;
  readonly logger: Logger;
}

/** What this release of the node supports, for clients that check before they use it. */
const FEATURES: readonly string[] = ["ack", "resume", "topics", "publish"];

export class RegisterConnections {
  readonly #options: RegisterOptions;

  constructor(options: RegisterOptions) {
    this.#options = options;
  }

  /**
   * Whatever the outcome, the connection stays in the registry until its socket is gone: see `unregister`.
   * @param broadcast where the client stopped reading `$all`
   * @throws what ioredis throws if Redis does not answer
   */
  async register(
    connection: Connection,
    position: ResumePosition | undefined,
    broadcast?: BroadcastPosition,
  ): Promise<void> {
    const { registry, routes, catchUp, checkEpoch, topics, welcome } = this.#options;
    registry.add(connection);
    topics.asking(connection);
    const result = await routes.add(connection, position);
    if (result.outcome !== "connected") {
      this.#close(connection, result, "new");
      return;
    }
    const { member, epoch, seq, after, resumed, isHeld } = result;
    connection.member = member;
    connection.connectTimeMs = Number(member.slice(0, member.indexOf("/")));
    if (!connection.isOpen) {
      // It began to close while the script ran. If the socket was gone by then, the close had no member to remove.
      await routes.remove(connection);
      return;
    }
    connection.epoch = epoch;
    connection.lastSent = after;
    connection.lastDelivered = after;
    connection.acked = after;
    connection.isHeld = isHeld;
    connection.phase = "catching-up";
    const frame = encodeServerFrame({
      type: "welcome",
      connection: connection.id,
      node: welcome.node,
      user: connection.userId,
      epoch,
      seq,
      after,
      resumed,
      pingSeconds: welcome.pingSeconds,
      ackWithinMs: welcome.ackWithinMs,
      features: FEATURES,
    });
    connection.queue(encodeTextFrame(frame));
    welcomeRecalls(connection, position, result.recalls);
    topics.welcome(connection, result.keptTopics, broadcast);
    connection.flush();
    if (connection.targetSeq > seq && connection.targetEpoch !== epoch && connection.targetEpoch !== "") {
      if (!(await checkEpoch(connection, connection.targetEpoch))) return;
    }
    connection.targetSeq = Math.max(connection.targetSeq, seq);
    catchUp(connection);
    if (connection.mustRegisterAgain) await this.registerAgain(connection);
  }

  /**
   * Ensures that a connection's route exists and its token is still valid, and brings it up to date: after a heartbeat
   * that did not find it, a resubscription or a suspension of the process.
   * @throws what ioredis throws if Redis does not answer
   */
  async registerAgain(connection: Connection): Promise<void> {
    const { routes, catchUp, topics } = this.#options;
    if (!connection.isOpen) return;
    if (connection.phase === "registering") {
      // Its script may have run before the loss, so its answer may no longer be the inbox's end.
      connection.readToEnd = true;
      connection.mustRegisterAgain = true;
      return;
    }
    // A fresh token that is being checked is not covered here, and its revocation may have been missed: run once more
    // then.
    connection.mustRegisterAgain = connection.renewal !== undefined;
    topics.asking(connection);
    let kept: readonly string[] | undefined;
    let result: ConnectResult;
    try {
      result = await routes.addAgain(connection);
      if (result.outcome === "connected") kept = result.keptTopics;
    } finally {
      topics.answered(connection, kept);
      connection.flush();
    }
    if (!connection.isOpen) {
      if (result.outcome === "connected") await routes.remove(connection);
      return;
    }
    if (result.outcome !== "connected") {
      this.#close(connection, result, "registered before");
      return;
    }
    if (result.epoch !== connection.epoch) this.#enterEpoch(connection, result);
    connection.member = result.member;
    recallAgain(connection, result.recalls);
    connection.flush();
    // Even a message of the former epoch belongs to this connection; one of the new epoch makes its client move at
    // once.
    connection.targetSeq = Math.max(connection.targetSeq, result.seq);
    catchUp(connection);
  }

  /** Removes a connection whose socket is gone. */
  async unregister(connection: Connection): Promise<void> {
    this.#options.registry.delete(connection);
    if (connection.member !== "") await this.#options.routes.remove(connection);
  }

  #enterEpoch(connection: Connection, { epoch, acked, seq }: ConnectResult & { outcome: "connected" }): void {
    const { logger, moves, isDraining } = this.#options;
    const kind = lineageOf(epoch) === lineageOf(connection.epoch) ? "generation" : "lineage";
    logger.debug({ connection: connection.id, kind }, "epoch changed: asking the client to reconnect");
    connection.nextEpoch = epoch;
    // Acks of the former epoch no longer count: open messages can end only on the client's next connection.
    if (!isDraining()) moves.move(connection, acked < seq);
  }

  #close(
    connection: Connection,
    result: Exclude<ConnectResult, { outcome: "connected" }>,
    who: "new" | "registered before",
  ): void {
    if (result.outcome === "revoked") closeRevoked(connection);
    else if (result.outcome === "too-often") closeTooOften(connection, result.retryAfterMs);
    else if (result.outcome === "elsewhere") closeReplaced(connection, "elsewhere", result.platform);
    else if (who === "registered before") closeReplaced(connection, "limit", "");
    else {
      connection.fail(
        closeCodes.tooMany,
        "PETREL_TOO_MANY_CONNECTIONS",
        `This user has ${this.#options.routes.limits.maxConnectionsPerUser} connections already.`,
        "backoff",
      );
    }
  }
}
