// push-node/connect/route-upgrades -> here -> push-node/connect/open-connection: `GET /v1/connect`, the upgrade.
// Guarantees: before the upgrade only 400, 403, 426, 429 and 503 are answered, through the framework like other
// requests. Never more upgrades than the admission allows, shared fairly by address. After the upgrade the connection
// keeps nothing of the handshake's request.
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import {
  clientAddress,
  limitKeyOfAddress,
  type TrustedProxies,
} from "@petrel/shared/kernel/http/client-address";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { FastifyReply } from "fastify";
import type { LimitDecision } from "@petrel/shared/redis/limits/sliding-window-limiter";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { ConnectionWebSocket } from "../connection/connection-web-socket.js";
import { checkUpgrade } from "./check-upgrade.js";
import type { HandshakeAdmission } from "./handshake-admission.js";
import { OpenConnection, type OpenDeps } from "./open-connection.js";
import { readHandshake, type Handshake, type HandshakeRules } from "./read-handshake.js";
import { serveOrdinarily } from "./route-upgrades.js";
import type { UnauthenticatedConnections } from "./unauthenticated-connections.js";

export interface ConnectRouteDeps {
  readonly rules: HandshakeRules;
  readonly trustedProxies: TrustedProxies;
  readonly unauthenticated: UnauthenticatedConnections;
  readonly admission: HandshakeAdmission;
  /** Limits how often one address may connect. */
  readonly takeConnectOfAddress: (address: string) => LimitDecision | Promise<LimitDecision>;
  /** A handshake was answered with 503. */
  readonly onTurnedAway: () => void;
  readonly isDraining: () => boolean;
  /** Aborted when the node's stop begins. */
  readonly stopping: AbortSignal;
  readonly logger: Logger;
  /** What opening a client's connection needs. */
  readonly open: OpenDeps;
}

/**
 * Answers the handshake as RFC 6455 requires.
 * @param askedAtMs when the request arrived, by the monotonic clock
 * @returns undefined where the socket is gone
 */
export type FinishUpgrade = (
  request: IncomingMessage,
  socket: Socket,
  head: Buffer,
  handshake: Handshake,
  askedAtMs: number,
) => ConnectionWebSocket | undefined;

/** Answers an upgrade request over HTTP. */
type Refusal = (reply: FastifyReply) => PetrelError | undefined;

export const CONNECT_PATH = "/v1/connect";
/** The most handshakes that may wait for Redis's rate limit. */
const MAX_ASKING = 1_000;
const ADDRESS_WINDOW_SECONDS = 60;
const NO_QUERY = new URLSearchParams();

/** @returns a handler for upgrade requests to this path */
export function addConnectRoute(
  app: HttpApp,
  deps: ConnectRouteDeps,
  finishUpgrade: FinishUpgrade,
): (request: IncomingMessage, socket: Socket, head: Buffer) => void {
  const refusals = new WeakMap<IncomingMessage, Refusal>();
  let asking = 0;
  let hasWarned = false;

  // The drain covers only authenticated connections. The others are told at once: a hook of the framework would tell
  // them only when the drain, and the time in which HTTP clients leave, are over.
  const turnAwayAll = (): void => {
    deps.unauthenticated.closeAll(closeCodes.serviceRestart, "PETREL_SHUTTING_DOWN");
    deps.admission.refuseAll();
  };
  deps.stopping.addEventListener("abort", turnAwayAll, { once: true });

  app.route({
    method: "GET",
    url: CONNECT_PATH,
    onRequest: (request, reply, done) => {
      const refuse = refusals.get(request.raw);
      const error = refuse === undefined ? upgradeRequired(reply) : refuse(reply);
      if (error !== undefined) done(error);
    },
    handler: (_request, reply) => {
      throw upgradeRequired(reply);
    },
  });

  const refuse = (request: IncomingMessage, socket: Socket, refusal: Refusal): void => {
    socket.off("error", cut);
    refusals.set(request, refusal);
    serveOrdinarily(app, request, socket);
  };
  const turnAway = (
    request: IncomingMessage,
    socket: Socket,
    message: string,
    retryAfterSeconds: number,
  ): void => {
    deps.onTurnedAway();
    refuse(request, socket, (reply) => {
      answer(reply, new PetrelError("PETREL_UNAVAILABLE", message), retryAfterSeconds);
      return undefined;
    });
  };
  /** @returns whether this node is stopping, in which case the client was told so */
  const turnedAwayAtStop = (request: IncomingMessage, socket: Socket): boolean => {
    if (!deps.isDraining()) return false;
    turnAway(request, socket, "This node is stopping: use another.", shortWaitSeconds());
    return true;
  };
  const addressOf = ({ headers, socket }: IncomingMessage): string => {
    const forwarded = headers["x-forwarded-for"];
    if (forwarded !== undefined && deps.trustedProxies.isEmpty && !hasWarned) {
      hasWarned = true;
      deps.logger.warn(
        { peer: socket.remoteAddress },
        "X-Forwarded-For is ignored: if this is your proxy, list it in TRUSTED_PROXIES; until then all clients behind it " +
          "count as one",
      );
    }
    const joined = Array.isArray(forwarded) ? forwarded.join(",") : forwarded;
    return clientAddress(socket.remoteAddress, joined, deps.trustedProxies);
  };
  const open = (
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    address: string,
    handshake: Handshake,
    askedAtMs: number,
  ): void => {
    socket.off("error", cut);
    const ws = finishUpgrade(request, socket, head, handshake, askedAtMs);
    if (ws === undefined) return;
    const freeSlot = deps.unauthenticated.add(address, ws, socket);
    new OpenConnection(deps.open, ws, socket, handshake, freeSlot).begin(handshake.credential);
  };
  const enter = (
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    address: string,
    askedAtMs: number,
  ): void => {
    let handshake: Handshake;
    try {
      handshake = readRequest(request, deps.rules);
    } catch (error) {
      const problem = error as PetrelError;
      refuse(request, socket, (reply) =>
        problem.status === 426 ? upgradeRequired(reply, problem) : problem,
      );
      return;
    }
    if (turnedAwayAtStop(request, socket)) return;
    deps.admission.enter({
      address,
      isGone: () => socket.destroyed,
      admit: () => {
        // The stop may have begun while it waited.
        if (!turnedAwayAtStop(request, socket)) open(request, socket, head, address, handshake, askedAtMs);
      },
      refuse: (retryAfterSeconds) =>
        turnAway(
          request,
          socket,
          "Too many connections are being opened at the same time.",
          retryAfterSeconds,
        ),
    });
  };

  return (request, socket, head) => {
    const askedAtMs = performance.now();
    // Node no longer handles this socket, and nothing else listens yet.
    socket.on("error", cut);
    if (turnedAwayAtStop(request, socket)) return;
    const client = addressOf(request);
    const address = limitKeyOfAddress(client);
    const proceed = (decision: LimitDecision): void => {
      if (socket.destroyed) return;
      if (decision.allowed) {
        enter(request, socket, head, address, askedAtMs);
        return;
      }
      deps.logger.debug({ address: client }, "handshake refused: too many from this address");
      refuse(request, socket, (reply) => {
        answerTooMany(reply, decision);
        return undefined;
      });
    };
    if (asking >= MAX_ASKING) {
      turnAway(
        request,
        socket,
        "Too many connections are being opened at the same time.",
        shortWaitSeconds(),
      );
      return;
    }
    const decision = deps.takeConnectOfAddress(address);
    if (!(decision instanceof Promise)) {
      proceed(decision);
      return;
    }
    asking++;
    // Never rejects: if Redis does not answer, this node decides by itself.
    void decision.then((decided) => {
      asking--;
      proceed(decided);
    });
  };
}

function cut(this: Socket): void {
  this.destroy();
}

function shortWaitSeconds(): number {
  return 1 + Math.floor(Math.random() * 4);
}

/** @throws PetrelError for everything that is refused before the upgrade */
function readRequest(request: IncomingMessage, rules: HandshakeRules): Handshake {
  checkUpgrade(request);
  const { headers, url = "" } = request;
  const query = url.indexOf("?");
  return readHandshake(headers, query === -1 ? NO_QUERY : new URLSearchParams(url.slice(query)), rules);
}

/** Not thrown: each would be logged as an error, and there may be as many as clients. */
function answer(reply: FastifyReply, error: PetrelError, retryAfterSeconds: number): void {
  void reply
    .code(error.status)
    .header("retry-after", String(retryAfterSeconds))
    .type("application/json")
    .serializer(JSON.stringify)
    .send(error.toBody());
}

/** Sets the headers of draft-ietf-httpapi-ratelimit-headers-10. */
function answerTooMany(
  reply: FastifyReply,
  { limit, retryAfterMs }: Extract<LimitDecision, { readonly allowed: false }>,
): void {
  const seconds = Math.min(ADDRESS_WINDOW_SECONDS, Math.max(1, Math.ceil(retryAfterMs / 1_000)));
  void reply
    .header("ratelimit-policy", `"connects";q=${limit};w=${ADDRESS_WINDOW_SECONDS}`)
    .header("ratelimit", `"connects";r=0;t=${seconds}`);
  const message = "This address opens connections too often.";
  answer(reply, new PetrelError("PETREL_RATE_LIMITED", message), seconds);
}

const UPGRADE_REQUIRED = "This address speaks WebSocket: send an upgrade request.";

/** Sets the headers that RFC 9110 section 15.5.22 and RFC 6455 section 4.4 require. */
function upgradeRequired(
  reply: FastifyReply,
  error = new PetrelError("PETREL_UPGRADE_REQUIRED", UPGRADE_REQUIRED),
): PetrelError {
  void reply
    .header("upgrade", "websocket")
    .header("sec-websocket-version", "13")
    .header("connection", reply.raw.shouldKeepAlive ? "Upgrade" : "Upgrade, close");
  return error;
}
