// browser -> here -> open-connection: `GET /v1/connect`, the upgrade.
// Guarantees: before the upgrade only 400, 403, 426 and 503 are answered; upgrades are no more than the admission lets
// in; afterwards nothing of the handshake's request and response is kept alive by the connection.
import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { closeCodes } from "@petrel/shared/protocol/close-codes";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { WebSocket } from "ws";
import type { HandshakeAdmission } from "./handshake-admission.js";
import { openConnection, type OpenDeps } from "./open-connection.js";
import { readHandshake, type Handshake, type HandshakeRules } from "./read-handshake.js";

export interface ConnectRouteDeps extends OpenDeps {
  readonly rules: HandshakeRules;
  readonly maxUnauthenticated: number;
  readonly admission: HandshakeAdmission;
  /** A handshake was answered with 503. */
  readonly onTurnedAway: () => void;
}

interface Upgrade {
  readonly handshake: Handshake;
  readonly response: ServerResponse;
}

export function addConnectRoute(app: HttpApp, deps: ConnectRouteDeps): void {
  const upgrades = new WeakMap<FastifyRequest, Upgrade>();
  const unauthenticated = new Set<WebSocket>();

  // The drain knows only those that are somebody's; a stop must not wait for the others' time to run out.
  app.addHook("preClose", (done) => {
    for (const ws of unauthenticated) ws.close(closeCodes.serviceRestart, "PETREL_SHUTTING_DOWN");
    deps.admission.refuseAll();
    done();
  });

  /** Not thrown: each would be logged as an error, and there are as many as clients. */
  const turnAway = (reply: FastifyReply, message: string, retryAfterSeconds = 1): void => {
    const error = new PetrelError("PETREL_UNAVAILABLE", message);
    deps.onTurnedAway();
    void reply
      .code(error.status)
      .header("retry-after", String(retryAfterSeconds))
      .type("application/json")
      .serializer(JSON.stringify)
      .send(error.toBody());
  };
  /** @returns why no upgrade can be made now, whoever asks */
  const obstacle = (): string | undefined => {
    if (deps.isDraining()) return "This node is stopping: use another.";
    if (unauthenticated.size >= deps.maxUnauthenticated)
      return "Too many connections are waiting to be authenticated.";
    return undefined;
  };

  app.route({
    method: "GET",
    url: "/v1/connect",
    onRequest: (request, reply, done) => {
      if (!request.ws) {
        void reply.header("upgrade", "websocket").header("connection", "Upgrade");
        done(
          new PetrelError(
            "PETREL_UPGRADE_REQUIRED",
            "This address speaks WebSocket: send an upgrade request.",
          ),
        );
        return;
      }
      const refusal = obstacle();
      if (refusal !== undefined) {
        turnAway(reply, refusal, 1 + Math.floor(Math.random() * 4));
        return;
      }
      let handshake: Handshake;
      try {
        checkUpgrade(request.headers);
        const { url } = request;
        const query = new URLSearchParams(url.includes("?") ? url.slice(url.indexOf("?")) : "");
        handshake = readHandshake(request.headers, query, deps.rules);
      } catch (error) {
        done(error as PetrelError);
        return;
      }
      upgrades.set(request, { handshake, response: reply.raw });
      deps.admission.enter({
        isGone: () => request.raw.socket.destroyed,
        admit: () => {
          // What was so when it came may not be so when its turn comes.
          const late = obstacle();
          if (late === undefined) done();
          else turnAway(reply, late, 1 + Math.floor(Math.random() * 4));
        },
        refuse: (retryAfterSeconds) =>
          turnAway(reply, "Too many connect at the same time.", retryAfterSeconds),
      });
    },
    handler: () => {
      throw new PetrelError(
        "PETREL_UPGRADE_REQUIRED",
        "This address speaks WebSocket: send an upgrade request.",
      );
    },
    wsHandler: (ws, request) => {
      const upgrade = upgrades.get(request);
      const { socket } = request.raw;
      if (upgrade === undefined) {
        ws.terminate();
        return;
      }
      // The plugin's own error listener and the response hold on to the whole request: a few KB a connection.
      ws.removeAllListeners("error");
      upgrade.response.detachSocket(socket);
      unauthenticated.add(ws);
      openConnection(deps, ws, socket, upgrade.handshake, () => void unauthenticated.delete(ws));
    },
  });
}

/** RFC 6455 section 4.2.1: what `ws` would refuse in its own words is refused in ours. */
function checkUpgrade(headers: IncomingHttpHeaders): void {
  if (headers.upgrade?.toLowerCase() !== "websocket" || headers["sec-websocket-version"] !== "13") {
    throw new PetrelError("PETREL_UPGRADE_REQUIRED", "Only WebSocket version 13 (RFC 6455) is spoken here.");
  }
  const key = headers["sec-websocket-key"];
  if (key === undefined || !/^[+/0-9A-Za-z]{22}==$/.test(key)) {
    throw new PetrelError("PETREL_INVALID_REQUEST", "Sec-WebSocket-Key is not 16 bytes in base64.");
  }
}
