// push-node: its HTTP application: the upgrade, health and version; without listening.
// Guarantees: what an unauthenticated socket may make this node hold is bounded. Closing the application cuts no socket
// off; the drain closes them before that.
import { buildHttpApp, type HttpApp, type Readiness } from "@petrel/shared/kernel/http/http-app";
import { givenRequestId, REQUEST_ID } from "@petrel/shared/kernel/http/requests/request-ids";
import type { Service } from "@petrel/shared/service/open-service";
import { WebSocketServer, type ServerOptions } from "ws";
import { addConnectRoute, CONNECT_PATH, type ConnectRouteDeps } from "./connect/connect-route.js";
import { SUBPROTOCOL } from "./connect/read-handshake.js";
import { routeUpgrades } from "./connect/route-upgrades.js";
import { ConnectionWebSocket } from "./connection/connection-web-socket.js";

export interface PushNodeAppOptions {
  readonly service: Pick<Service, "version" | "tls" | "logger" | "trustedProxies" | "requests">;
  readonly readiness: () => Promise<Readiness>;
  readonly sockets: PendingSocketBounds;
  readonly frames: FrameBounds;
  readonly connect: ConnectRouteDeps;
}

/** For sockets that are not WebSockets yet. */
export interface PendingSocketBounds {
  /** From the connection to the end of the upgrade request. */
  readonly headersTimeoutMs: number;
  readonly max: number;
  readonly maxPerAddress: number;
  /** A socket was destroyed to make room. */
  readonly onCut: () => void;
}

export interface FrameBounds {
  readonly maxBytes: number;
  readonly maxFragments: number;
}

type SocketClass = NonNullable<ServerOptions["WebSocket"]>;

const BODY_LIMIT_BYTES = 16 * 1024;
/** Options of `ws` that its types lack. */
const UNTYPED = {
  /** How long a client may take to answer a close before its socket is destroyed. */
  closeTimeout: 5_000,
  /**
   * Pieces of an unfinished frame: sent in packets of one byte each, they would take a hundred times their size in
   * memory.
   */
  maxBufferedChunks: 1_024,
  /** Pongs that may wait for a client that pings and does not read; one that pings too often gets 4429 before that. */
  maxPendingAutoPongs: 1_000,
} as const;
const UPGRADED = 101;
/** Short, because only load balancers' checks send two requests on a socket. */
const KEEP_ALIVE_MS = 10_000;

export async function buildApp({
  service,
  readiness,
  sockets: pending,
  frames,
  connect,
}: PushNodeAppOptions): Promise<HttpApp> {
  const app = await buildHttpApp({
    service: "push-node",
    version: service.version,
    tls: service.tls,
    logger: service.logger,
    requests: service.requests,
    trustedProxies: service.trustedProxies,
    readiness,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    onSocketCut: pending.onCut,
    bounds: {
      headersTimeoutMs: pending.headersTimeoutMs,
      // There are no request bodies.
      requestTimeoutMs: pending.headersTimeoutMs,
      keepAliveTimeoutMs: KEEP_ALIVE_MS,
      maxPendingSockets: pending.max,
      maxPendingPerAddress: pending.maxPerAddress,
      pendingUntil: "upgrade",
    },
  });
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: frames.maxBytes,
    maxFragments: frames.maxFragments,
    perMessageDeflate: false,
    // The registry knows them; a second list would only cost memory.
    clientTracking: false,
    // `ws` only needs a class to instantiate; the type also wants the module's other members on it.
    WebSocket: ConnectionWebSocket as unknown as SocketClass,
    ...UNTYPED,
    handleProtocols: (protocols) => (protocols.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
  const { requests } = service;
  const upgraded = requests.route(CONNECT_PATH, "GET");
  upgraded.expect([UPGRADED]);
  const take = addConnectRoute(app, connect, (request, socket, head, askedAtMs, onOpen) =>
    sockets.handleUpgrade(request, socket, head, (ws) => {
      requests.answered(request, upgraded, {
        requestId: givenRequestId(request.headers),
        status: UPGRADED,
        ms: performance.now() - askedAtMs,
      });
      if (ws instanceof ConnectionWebSocket) onOpen(ws);
      else ws.terminate();
    }),
  );
  // A connection has an id of its own, so make no request id here.
  sockets.on("headers", (lines, request) => {
    const requestId = givenRequestId(request.headers);
    if (requestId !== undefined) lines.push(`${REQUEST_ID}: ${requestId}`);
  });
  routeUpgrades(app, CONNECT_PATH, take);
  return app;
}
