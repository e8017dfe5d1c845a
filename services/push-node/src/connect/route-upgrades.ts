// push-node/app -> here -> push-node/connect/connect-route: sends an upgrade request to the WebSocket plugin, or to the
// ordinary routes.
// Guarantees: the plugin gets only requests for a WebSocket at the right path; others (`Upgrade: h2c`, another path)
// are answered as if they had asked for no upgrade.
import { EventEmitter } from "node:events";
import { type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { checkHead } from "@petrel/shared/kernel/http/check-head";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { wantsWebSocket } from "./check-upgrade.js";

/**
 * @param path where WebSockets are spoken
 * @returns what the plugin listens to in the server's place
 */
export function routeUpgrades(app: HttpApp, path: string): Server {
  const chosen = new EventEmitter();
  app.server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const { method, url = "" } = request;
    const isOurs = method === "GET" && pathOf(url) === path && wantsWebSocket(request);
    // The plugin ends a socket only for a request that has reached its own hook.
    if (isOurs && checkHead(request) === undefined) chosen.emit("upgrade", request, socket, head);
    else serveOrdinarily(app, request, socket);
  });
  // The plugin only listens to it; its type wants a whole server.
  return chosen as unknown as Server;
}

/** Node has let go of the socket: this response is its last. */
function serveOrdinarily(app: HttpApp, request: IncomingMessage, socket: Socket): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  socket.on("error", () => socket.destroy());
  // Read and dropped: unread bytes would reset the connection before the client has read the response.
  socket.resume();
  response.assignSocket(socket);
  response.once("finish", () => {
    response.detachSocket(socket);
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
