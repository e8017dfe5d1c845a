// http-app -> here: what a client may make an HTTP server hold and wait for before it has said what it wants.
// Guarantees: a request's head, body and the pause after it end at a bounded time; sockets that have not sent a request
// are bounded in number, in all and for each address, and none of them keeps out one that has just come.
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
  /** What a body may take to come, beside a second for each 64 KiB. */
  readonly bodyTimeoutMs: number;
  /** Requests whose body is under way. */
  readonly maxBodies: number;
  /** Of these from one address; a trusted proxy has no share. */
  readonly maxBodiesPerAddress: number;
  /** How long a stop says `Connection: close` before it closes connections that nobody uses. */
  readonly stopWindowMs: number;
  /** Between an answer and the next request; longer than a load balancer's own, which is 60 s as a rule. */
  readonly keepAliveTimeoutMs: number;
  /** Without a byte in either direction, while an answer is under way. */
  readonly silenceTimeoutMs: number;
  readonly maxHeaderBytes: number;
  /** Sockets that have not sent a whole head yet. */
  readonly maxPendingSockets: number;
  /** Of these from one address; a trusted proxy has no share. */
  readonly maxPendingPerAddress: number;
  /**
   * Until when a socket counts as pending: its first request, or its upgrade, where everybody is to upgrade and
   * whoever does not is no client.
   */
  readonly pendingUntil: "request" | "upgrade";
}

export const defaultHttpBounds: HttpBounds = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 120_000,
  bodyTimeoutMs: 10_000,
  maxBodies: 2_000,
  // Producers stand behind few addresses.
  maxBodiesPerAddress: 1_000,
  stopWindowMs: 1_500,
  keepAliveTimeoutMs: 72_000,
  silenceTimeoutMs: 120_000,
  maxHeaderBytes: 16 * 1024,
  maxPendingSockets: 4_000,
  maxPendingPerAddress: 4_000,
  pendingUntil: "request",
};

/** How often times are looked at: so much later, at most, they are heeded. */
const CHECK_INTERVAL_MS = 1_000;

/** Ours ends a body's time, and answers; Node's only cuts. */
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
 * @param onCut called for each socket that was cut because others needed its slot
 * @returns cuts those that have not shaken hands in TLS, or have asked for nothing since
 */
export function applyHttpBounds(
  server: Server,
  bounds: HttpBounds,
  trustedProxies: TrustedProxies,
  onCut: () => void,
): () => void {
  // Their bytes are what bounds them. By number Node drops the last ones, and one of these may be what a proxy has put
  // behind the client's own: whom it was reached by.
  server.maxHeadersCount = 0;
  const isTls = server instanceof TlsServer;
  // A TLS server hands on another socket than the one that came: both have one entry.
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
    // A WebSocket may live for days: nothing is kept for it here.
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
  // Never both: whoever listens for upgrades must answer them. Where nobody does, Node serves such a request like
  // every other, which is what clients that only offer one (`Upgrade: h2c`) wait for.
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
