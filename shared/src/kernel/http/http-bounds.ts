// http-app -> here: bounds what a client may make an HTTP server hold and wait for before it has said what it wants.
// Guarantees: a request's head, its body and the pause after it each end in bounded time; sockets that have not sent a
// request are bounded in number, in all and per address, and never keep out a newcomer.
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import { Server as TlsServer, type TLSSocket } from "node:tls";
import { readAddress, type TrustedProxies } from "./client-address.js";
import { SlotsByAddress } from "../limits/slots-by-address.js";

export interface HttpBounds {
  /** From the connection, or the first byte of a further request, to the end of its head. */
  readonly headersTimeoutMs: number;
  /** The same to the end of its body, however large it is. */
  readonly requestTimeoutMs: number;
  /** How long a body may take to arrive, plus a second per 64 KiB. */
  readonly bodyTimeoutMs: number;
  /** The most requests whose body is under way. */
  readonly maxBodies: number;
  /** Of these, from one address; a trusted proxy is exempt. */
  readonly maxBodiesPerAddress: number;
  /** How long answers say `Connection: close` during a stop, before idle connections are closed. */
  readonly stopWindowMs: number;
  /** Between an answer and the next request; longer than a load balancer's own, usually 60 s. */
  readonly keepAliveTimeoutMs: number;
  /** How long neither side may send a byte while an answer is under way. */
  readonly silenceTimeoutMs: number;
  readonly maxHeaderBytes: number;
  /** The most sockets that have not yet sent a whole head. */
  readonly maxPendingSockets: number;
  /** Of these, from one address; a trusted proxy is exempt. */
  readonly maxPendingPerAddress: number;
  /** What ends the pending state: the first request, or the upgrade on a listener where every client upgrades. */
  readonly pendingUntil: "request" | "upgrade";
}

export const defaultHttpBounds: HttpBounds = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 120_000,
  bodyTimeoutMs: 10_000,
  maxBodies: 2_000,
  // Generous: many producers may share one address.
  maxBodiesPerAddress: 1_000,
  stopWindowMs: 1_500,
  keepAliveTimeoutMs: 72_000,
  silenceTimeoutMs: 120_000,
  maxHeaderBytes: 16 * 1024,
  maxPendingSockets: 4_000,
  maxPendingPerAddress: 4_000,
  pendingUntil: "request",
};

/** How often timeouts are checked; they fire at most this late. */
const CHECK_INTERVAL_MS = 1_000;

/** Our own timeout answers a slow body first; Node's would only destroy the socket. */
const NODE_IS_LATER_MS = 15_000;

/** For `http.createServer`, or `https`: Node's own limits. */
export function nodeServerOptions(bounds: HttpBounds) {
  return {
    headersTimeout: bounds.headersTimeoutMs,
    requestTimeout: bounds.requestTimeoutMs + NODE_IS_LATER_MS,
    // The application answers such a request, in the contract's shape.
    requireHostHeader: false,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
    maxHeaderSize: bounds.maxHeaderBytes,
  } as const;
}

/**
 * @param onCut called for each socket that was destroyed to make room for others
 * @returns a function that destroys the sockets still in their TLS handshake, or without a request since
 */
export function applyHttpBounds(
  server: Server,
  bounds: HttpBounds,
  trustedProxies: TrustedProxies,
  onCut: () => void,
): () => void {
  // The limit on header bytes is enough. Node's limit on their number drops the last ones, and a proxy appends the
  // address of the client that reached it.
  server.maxHeadersCount = 0;
  const isTls = server instanceof TlsServer;
  // A TLS server emits a second socket for the same connection; both share one entry.
  const entries = new WeakMap<Socket, Pending>();
  const handshaking = new Map<string, Pending>();
  const slots = new SlotsByAddress<Pending>({
    max: bounds.maxPendingSockets,
    maxPerAddress: bounds.maxPendingPerAddress,
    onPushedOut: ({ socket }) => {
      socket.destroy();
      onCut();
    },
  });
  const settle = (socket: Socket): void => {
    const pending = entries.get(socket);
    if (pending === undefined) return;
    entries.delete(socket);
    slots.free(pending.address, pending);
    // A WebSocket may live for days, so do not keep anything for it here.
    pending.socket.off("close", pending.onClose);
    if (isTls) handshaking.delete(endOf(pending.socket));
  };
  server.on("connection", (socket: Socket) => {
    const address = readAddress(socket.remoteAddress ?? "") ?? "";
    const end = isTls ? endOf(socket) : "";
    const onClose = (): void => {
      if (isTls) handshaking.delete(end);
      slots.free(address, pending);
    };
    const pending: Pending = { socket, address, onClose };
    entries.set(socket, pending);
    if (isTls) handshaking.set(end, pending);
    socket.once("close", onClose);
    slots.take(address, pending, trustedProxies.includes(address));
  });
  if (isTls) {
    server.on("secureConnection", (socket: TLSSocket) => {
      const pending = handshaking.get(endOf(socket));
      if (pending !== undefined) entries.set(socket, pending);
    });
  }
  // Never both events: a server that listens for upgrades must answer them. Without a listener, Node serves a request
  // that merely offers an upgrade (`Upgrade: h2c`) as an ordinary one, as its client expects.
  server.on(bounds.pendingUntil, ({ socket }: IncomingMessage) => settle(socket));
  return () => {
    for (const { socket } of handshaking.values()) socket.destroy();
  };
}

interface Pending {
  readonly socket: Socket;
  readonly address: string;
  readonly onClose: () => void;
}

function endOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
