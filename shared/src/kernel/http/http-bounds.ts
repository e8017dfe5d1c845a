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
  /** What a body may take to arrive, on top of a second per 64 KiB. */
  readonly bodyTimeoutMs: number;
  /** Requests with a body under way. */
  readonly maxBodies: number;
  /** Of these, from one address; a trusted proxy is exempt. */
  readonly maxBodiesPerAddress: number;
  /** How long a stop says `Connection: close` before it closes idle connections. */
  readonly stopWindowMs: number;
  /** Between an answer and the next request; longer than a load balancer's own, usually 60 s. */
  readonly keepAliveTimeoutMs: number;
  /** Without a byte in either direction, while an answer is under way. */
  readonly silenceTimeoutMs: number;
  readonly maxHeaderBytes: number;
  /** Sockets that have not yet sent a whole head. */
  readonly maxPendingSockets: number;
  /** Of these, from one address; a trusted proxy is exempt. */
  readonly maxPendingPerAddress: number;
  /**
   * How long a socket counts as pending: until its first request, or until its upgrade on a listener where every client
   * upgrades.
   */
  readonly pendingUntil: "request" | "upgrade";
}

export const defaultHttpBounds: HttpBounds = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 120_000,
  bodyTimeoutMs: 10_000,
  maxBodies: 2_000,
  // Many producers share few addresses.
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

/** Our own timeout ends a body first, with an answer; Node's would only cut. */
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
 * @param onCut called for each socket that was cut to make room for others
 * @returns cuts the sockets that have not finished their TLS handshake, or have sent no request since
 */
export function applyHttpBounds(
  server: Server,
  bounds: HttpBounds,
  trustedProxies: TrustedProxies,
  onCut: () => void,
): () => void {
  // Their bytes bound them. Node's bound on their number drops the last ones, which may be what a proxy appended: the
  // client that reached it.
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
    // A WebSocket may live for days, so nothing is kept for it here.
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
  // Never both: a server that listens for upgrades must answer them. Without a listener, Node serves such a request
  // like any other, as clients that merely offer one (`Upgrade: h2c`) expect.
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
