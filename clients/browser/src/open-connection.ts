// connection-keeper -> here -> connection: an attempt, with all that its address and its handshake say.
// Guarantees: the credential travels as the application chose; nothing else of it leaves the client.
import { connectUrl, globalWebSocket, type Positions, type ResolvedOptions } from "./client-options.js";
import { Connection, type ConnectionOptions } from "./connection/connection.js";
import type { SocketConstructor } from "./connection/socket.js";
import type { Credential } from "./credentials/credential-source.js";

export interface OpenedBy extends Pick<ConnectionOptions, "onWelcome" | "onFrame" | "onBadFrame" | "onEnd"> {
  /** A push node's address. */
  readonly url: string;
  readonly credential: Credential;
  /** A place on the connection of all tabs. */
  readonly shared: SocketConstructor | undefined;
  /** It resumes after them. */
  readonly positions: Positions;
}

/** @throws whatever the WebSocket constructor throws, such as a SyntaxError for a malformed token */
export function openConnection(
  { WebSocket: given, credentials, ack, timing }: ResolvedOptions,
  { url, credential, shared, positions, ...events }: OpenedBy,
): Connection {
  const WebSocket = shared ?? given ?? globalWebSocket();
  if (WebSocket === undefined) throw new TypeError("there is no WebSocket any more");
  const ticket = "ticket" in credential ? credential.ticket : undefined;
  const token = "token" in credential ? credential.token : undefined;
  const inHandshake = credentials === "subprotocol";
  return new Connection({
    WebSocket,
    url: connectUrl(url, positions, ack, ticket),
    broadcast: positions.broadcast,
    protocols: token !== undefined && inHandshake ? ["petrel.v1", `bearer.${token}`] : ["petrel.v1"],
    firstFrame: token === undefined || inHandshake ? undefined : { type: "auth", token },
    connectTimeoutMs: timing.connectTimeoutMs,
    ...events,
  });
}
