// push-node/app -> here -> push-node/connect/connect-route: routes an upgrade request to the connect route or to the
// ordinary routes.
// Guarantees: the connect route gets only requests for a WebSocket at the right path. Others (`Upgrade: h2c`, another
// path) are answered as if they had not asked for an upgrade. The framework handles only what is answered over HTTP:
// its hooks and reply would cost a connection more than the handshake itself.
import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { checkHead } from "@petrel/shared/kernel/http/check-head";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { wantsWebSocket } from "./check-upgrade.js";

/**
 * @param path the WebSocket endpoint
 * @param take handles a request for it
 */
export function routeUpgrades(
  app: HttpApp,
  path: string,
  take: (request: IncomingMessage, socket: Socket, head: Buffer) => void,
): void {
  app.server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const { method, url = "" } = request;
    const isOurs = method === "GET" && pathOf(url) === path && wantsWebSocket(request);
    if (isOurs && checkHead(request) === undefined) take(request, socket, head);
    else serveOrdinarily(app, request, socket);
  });
}

/** Node no longer handles this socket, so this response is its last. */
export function serveOrdinarily(app: HttpApp, request: IncomingMessage, socket: Socket): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  socket.on("error", () => socket.destroy());
  // Read and discard: unread bytes would reset the connection before the client has read the response.
  socket.resume();
  response.assignSocket(socket);
  response.once("finish", () => {
    response.detachSocket(socket);
    // Node emits this for its own responses.
    response.emit("close");
    socket.destroySoon();
  });
  app.routing(request, response);
}

/** A target may be a path or a whole URL (RFC 9112 section 3.2). */
function pathOf(target: string): string {
  const path = target.startsWith("/") ? target : target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "");
  const query = path.indexOf("?");
  return query === -1 ? path : path.slice(0, query);
}
