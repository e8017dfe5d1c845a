// browser -> here -> open-connection: `GET /v1/connect`, the upgrade.
// Guarantees: before the upgrade only 400, 403, 426 and 503 are answered; afterwards nothing of the handshake's
// request and response is kept alive by the connection.
import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { closeCodes } from "@petrel/shared/protocol/close-codes";
import type { FastifyRequest } from "fastify";
import type { WebSocket } from "ws";
import { openConnection, type OpenDeps } from "./open-connection.js";
import { readHandshake, type Handshake, type HandshakeRules } from "./read-handshake.js";

export interface ConnectRouteDeps extends OpenDeps {
  readonly rules: HandshakeRules;
  readonly maxUnauthenticated: number;
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
    done();
  });

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
      try {
        if (deps.isDraining())
          throw new PetrelError("PETREL_UNAVAILABLE", "This node is stopping: use another.");
        if (unauthenticated.size >= deps.maxUnauthenticated) {
          throw new PetrelError(
            "PETREL_UNAVAILABLE",
            "Too many connections are waiting to be authenticated.",
            {
              retryAfterSeconds: 1 + Math.floor(Math.random() * 4),
            },
          );
        }
        checkUpgrade(request.headers);
        const { url } = request;
        const query = new URLSearchParams(url.includes("?") ? url.slice(url.indexOf("?")) : "");
        const handshake = readHandshake(request.headers, query, deps.rules);
        upgrades.set(request, { handshake, response: reply.raw });
        done();
      } catch (error) {
        done(error as PetrelError);
      }
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
