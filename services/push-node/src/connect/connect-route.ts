// push-node/connect/route-upgrades -> here -> push-node/connect/open-connection: `GET /v1/connect`, the upgrade.
// Guarantees: before the upgrade only 400, 403, 426, 429 and 503 are answered; no more upgrades than the admission lets
// in, shared out by address; afterwards the connection keeps nothing of the handshake's request and response.
import type { ServerResponse } from "node:http";
import {
  clientAddress,
  limitKeyOfAddress,
  type TrustedProxies,
} from "@petrel/shared/kernel/http/client-address";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { LimitDecision } from "@petrel/shared/redis/limits/sliding-window-limiter";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { ConnectionWebSocket } from "../connection/connection-web-socket.js";
import { checkUpgrade } from "./check-upgrade.js";
import type { HandshakeAdmission } from "./handshake-admission.js";
import { OpenConnection, type OpenDeps } from "./open-connection.js";
import { readHandshake, type Handshake, type HandshakeRules } from "./read-handshake.js";
import type { UnauthenticatedConnections } from "./unauthenticated-connections.js";

export interface ConnectRouteDeps {
  readonly rules: HandshakeRules;
  readonly trustedProxies: TrustedProxies;
  readonly unauthenticated: UnauthenticatedConnections;
  readonly admission: HandshakeAdmission;
  /** How often one address may connect. */
  readonly takeConnectOfAddress: (address: string) => LimitDecision | Promise<LimitDecision>;
  /** A handshake was answered with 503. */
  readonly onTurnedAway: () => void;
  readonly isDraining: () => boolean;
  readonly logger: Logger;
  /** What a client needs from the upgrade on. */
  readonly open: OpenDeps;
}

interface Upgrade {
  readonly handshake: Handshake;
  readonly response: ServerResponse;
  /** Its share is counted by this. */
  readonly address: string;
}

export const CONNECT_PATH = "/v1/connect";
/** Handshakes that may wait for Redis to count them. */
const MAX_ASKING = 1_000;
const ADDRESS_WINDOW_SECONDS = 60;

export function addConnectRoute(app: HttpApp, deps: ConnectRouteDeps): void {
  const upgrades = new WeakMap<FastifyRequest, Upgrade>();
  let asking = 0;
  let hasWarned = false;

  // The drain knows only connections that are somebody's; the stop must not wait until the others' time is up.
  app.addHook("preClose", (done) => {
    deps.unauthenticated.closeAll(closeCodes.serviceRestart, "PETREL_SHUTTING_DOWN");
    deps.admission.refuseAll();
    done();
  });

  const turnAway = (reply: FastifyReply, message: string, retryAfterSeconds: number): void => {
    deps.onTurnedAway();
    answer(reply, new PetrelError("PETREL_UNAVAILABLE", message), retryAfterSeconds);
  };
  /** @returns whether this node stops, and the client was told */
  const turnedAwayAtStop = (reply: FastifyReply): boolean => {
    if (!deps.isDraining()) return false;
    turnAway(reply, "This node is stopping: use another.", 1 + Math.floor(Math.random() * 4));
    return true;
  };
  const addressOf = ({ headers, raw: { socket } }: FastifyRequest): string => {
    const forwarded = headers["x-forwarded-for"];
    if (forwarded !== undefined && deps.trustedProxies.isEmpty && !hasWarned) {
      hasWarned = true;
      deps.logger.warn(
        { peer: socket.remoteAddress },
        "X-Forwarded-For is ignored: if this is a proxy of yours, name it in TRUSTED_PROXIES; all clients behind it " +
          "count as one",
      );
    }
    const joined = Array.isArray(forwarded) ? forwarded.join(",") : forwarded;
    return clientAddress(socket.remoteAddress, joined, deps.trustedProxies);
  };

  app.route({
    method: "GET",
    url: CONNECT_PATH,
    onRequest: (request, reply, done) => {
      if (!request.ws) {
        done(upgradeRequired(reply, "This address speaks WebSocket: send an upgrade request."));
        return;
      }
      // Node has let go of the socket: a refusal is its last response.
      void reply.header("connection", "close");
      if (turnedAwayAtStop(reply)) return;
      const client = addressOf(request);
      const address = limitKeyOfAddress(client);
      const proceed = (decision: LimitDecision): void => {
        if (request.raw.socket.destroyed) return;
        if (!decision.allowed) {
          deps.logger.debug({ address: client }, "handshake refused: this address connects too often");
          answerTooMany(reply, decision);
          return;
        }
        let handshake: Handshake;
        try {
          checkUpgrade(request.raw);
          const { url } = request;
          const query = new URLSearchParams(url.includes("?") ? url.slice(url.indexOf("?")) : "");
          handshake = readHandshake(request.headers, query, deps.rules);
          const { protocols } = handshake;
          // As `ws` reads them: it knows no empty elements.
          if (protocols.length > 0) request.headers["sec-websocket-protocol"] = protocols.join(", ");
        } catch (error) {
          const refusal = error as PetrelError;
          done(refusal.status === 426 ? upgradeRequired(reply, refusal.message) : refusal);
          return;
        }
        upgrades.set(request, { handshake, response: reply.raw, address });
        deps.admission.enter({
          address,
          isGone: () => request.raw.socket.destroyed,
          admit: () => {
            // The stop may have begun while it waited.
            if (!turnedAwayAtStop(reply)) done();
          },
          refuse: (retryAfterSeconds) =>
            turnAway(reply, "Too many connect at the same time.", retryAfterSeconds),
        });
      };
      if (asking >= MAX_ASKING) {
        turnAway(reply, "Too many connect at the same time.", 1 + Math.floor(Math.random() * 4));
        return;
      }
      const decision = deps.takeConnectOfAddress(address);
      if (!(decision instanceof Promise)) {
        proceed(decision);
        return;
      }
      asking++;
      // Never rejects: where Redis does not answer, this node decides alone.
      void decision.then((decided) => {
        asking--;
        proceed(decided);
      });
    },
    handler: (_request, reply) => {
      throw upgradeRequired(reply, "This address speaks WebSocket: send an upgrade request.");
    },
    wsHandler: (ws, request) => {
      const upgrade = upgrades.get(request);
      const { socket } = request.raw;
      if (upgrade === undefined || !(ws instanceof ConnectionWebSocket)) {
        ws.terminate();
        return;
      }
      // The response, like the plugin's error listener, holds on to the whole request: a few KB a connection.
      upgrade.response.detachSocket(socket);
      const freeSlot = deps.unauthenticated.add(upgrade.address, ws, socket);
      const { handshake } = upgrade;
      new OpenConnection(deps.open, ws, socket, handshake, freeSlot).begin(handshake.credential);
    },
  });
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

/** The headers are those of draft-ietf-httpapi-ratelimit-headers-10. */
function answerTooMany(
  reply: FastifyReply,
  { limit, retryAfterMs }: Extract<LimitDecision, { readonly allowed: false }>,
): void {
  const seconds = Math.min(ADDRESS_WINDOW_SECONDS, Math.max(1, Math.ceil(retryAfterMs / 1_000)));
  void reply
    .header("ratelimit-policy", `"connects";q=${limit};w=${ADDRESS_WINDOW_SECONDS}`)
    .header("ratelimit", `"connects";r=0;t=${seconds}`);
  const message = "This address connects too often.";
  answer(reply, new PetrelError("PETREL_RATE_LIMITED", message), seconds);
}

/** As RFC 9110 section 15.5.22 and RFC 6455 section 4.4 require. */
function upgradeRequired(reply: FastifyReply, message: string): PetrelError {
  void reply
    .header("upgrade", "websocket")
    .header("sec-websocket-version", "13")
    .header("connection", reply.request.ws || !reply.raw.shouldKeepAlive ? "Upgrade, close" : "Upgrade");
  return new PetrelError("PETREL_UPGRADE_REQUIRED", message);
}
