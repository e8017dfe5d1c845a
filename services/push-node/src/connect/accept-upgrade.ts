// push-node/connect/connect-route -> here -> push-node/connection/connection-web-socket: answers a handshake that was
// checked, by RFC 6455 section 4.2.2.
// Guarantees: one write; nothing of the request is kept.
import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { REQUEST_ID } from "@petrel/shared/kernel/http/requests/request-ids";
import type { FrameBounds } from "../connection/client-frames.js";
import { ConnectionWebSocket } from "../connection/connection-web-socket.js";
import { SUBPROTOCOL, type Handshake } from "./read-handshake.js";

/** RFC 6455 section 1.3. */
const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** @returns undefined if the client has left */
export function acceptUpgrade(
  { headers }: IncomingMessage,
  socket: Socket,
  head: Buffer,
  { protocols, requestId }: Pick<Handshake, "protocols" | "requestId">,
  bounds: FrameBounds,
): ConnectionWebSocket | undefined {
  if (!socket.readable || !socket.writable) {
    socket.destroy();
    return undefined;
  }
  const accept = hash("sha1", `${headers["sec-websocket-key"]}${ACCEPT_GUID}`, "base64");
  // The only protocol that there is; a client that offers none must not be sent one.
  const protocol = protocols.length > 0 ? `Sec-WebSocket-Protocol: ${SUBPROTOCOL}\r\n` : "";
  // A connection has an id of its own, so make no request id here.
  const id = requestId === undefined ? "" : `${REQUEST_ID}: ${requestId}\r\n`;
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Accept: ${accept}\r\n${protocol}${id}\r\n`,
    "latin1",
  );
  return new ConnectionWebSocket(socket, head, bounds);
}
