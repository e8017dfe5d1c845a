// The server's `upgrade` event -> here -> the WebSocket plugin, or the ordinary routes.
// Guarantees: only what asks for a WebSocket where there is one comes to the plugin; whoever only offers to speak
// something else (`Upgrade: h2c`, a WebSocket at another path) is answered as if they had not.
import { EventEmitter } from "node:events";
import { type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { checkHead } from "@petrel/shared/kernel/http/check-head";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { wantsWebSocket } from "./check-upgrade.js";

/**
 * @param path the one at which there are WebSockets
 * @returns what the plugin is to listen to, in the server's place
 */
export function routeUpgrades(app: HttpApp, path: string): Server {
  const chosen = new EventEmitter();
  app.server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const { method, url = "" } = request;
    const isOurs = method === "GET" && pathOf(url) === path && wantsWebSocket(request);
    // The plugin ends a socket only for what has come as far as its own hook.
    if (isOurs && checkHead(request) === undefined) chosen.emit("upgrade", request, socket, head);
    else serveOrdinarily(app, request, socket);
  });
  // It is only listened to; the plugin's type wants all of a server.
  return chosen as unknown as Server;
}

/** Node has let go of the socket: this answer is its last. */
function serveOrdinarily(app: HttpApp, request: IncomingMessage, socket: Socket): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  socket.on("error", () => socket.destroy());
  // Thrown away, so that nothing unread resets the connection before the answer is read.
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
