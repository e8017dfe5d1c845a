// push-node: its HTTP application: the upgrade, health and version; without listening.
// Guarantees: what a socket may make this node hold before it is somebody's is bounded; stopping the application cuts no socket: that is the drain's duty, which comes before.
import websocket, { type WebsocketPluginOptions } from "@fastify/websocket";
import { buildHttpApp, type HttpApp, type Readiness } from "@petrel/shared/kernel/http/http-app";
import type { TlsFiles } from "@petrel/shared/kernel/tls/tls-files";
import { ConnectionWebSocket } from "./connection/connection-web-socket.js";
import { addConnectRoute, CONNECT_PATH, type ConnectRouteDeps } from "./connect/connect-route.js";
import { SUBPROTOCOL } from "./connect/read-handshake.js";
import { routeUpgrades } from "./connect/route-upgrades.js";

export interface PushNodeDeps extends ConnectRouteDeps {
  readonly version: string;
  /** Its certificate; without one plain HTTP is spoken. */
  readonly tls?: TlsFiles | undefined;
  readonly readiness: () => Promise<Readiness>;
  readonly maxFrameBytes: number;
  readonly maxFragments: number;
  /** From the connection to the end of the upgrade request. */
  readonly headersTimeoutMs: number;
  /** Sockets that are no WebSockets yet, in all and from one address. */
  readonly maxPendingSockets: number;
  readonly maxPendingPerAddress: number;
  readonly onSocketCut: () => void;
}

type SocketClass = NonNullable<NonNullable<WebsocketPluginOptions["options"]>["WebSocket"]>;

const BODY_LIMIT_BYTES = 16 * 1024;
/** Options of `ws` that its types do not know. */
const UNTYPED = {
  /** How long a client may take to answer a close before its socket is cut. */
  closeTimeout: 5_000,
  /** Pieces in which an unfinished frame may come: each byte in a packet of its own would take a hundred in memory. */
  maxBufferedChunks: 1_024,
  /** Pongs that may wait for a client that asks and does not read; who only asks too often is told so (4429) before. */
  maxPendingAutoPongs: 1_000,
} as const;
/** Nobody here but load balancers that look after this node asks twice on a socket. */
const KEEP_ALIVE_MS = 10_000;

export async function buildApp(deps: PushNodeDeps): Promise<HttpApp> {
  const { version, logger, readiness, maxFrameBytes, maxFragments } = deps;
  const app = await buildHttpApp({
    tls: deps.tls,
    service: "push-node",
    version,
    logger,
    readiness,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    trustedProxies: deps.trustedProxies,
    onSocketCut: deps.onSocketCut,
    bounds: {
      headersTimeoutMs: deps.headersTimeoutMs,
      // There are no bodies.
      requestTimeoutMs: deps.headersTimeoutMs,
      keepAliveTimeoutMs: KEEP_ALIVE_MS,
      maxPendingSockets: deps.maxPendingSockets,
      maxPendingPerAddress: deps.maxPendingPerAddress,
      pendingUntil: "upgrade",
    },
  });
  await app.register(websocket, {
    options: {
      server: routeUpgrades(app, CONNECT_PATH),
      maxPayload: maxFrameBytes,
      maxFragments,
      perMessageDeflate: false,
      // The registry knows them; a second list would only cost memory.
      clientTracking: false,
      // What is asked for is a class to make; the type wants the module's other members on it, too.
      WebSocket: ConnectionWebSocket as unknown as SocketClass,
      ...UNTYPED,
      handleProtocols: (protocols) => (protocols.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    },
    // The plugin's own would cut every socket at once, without a code.
    preClose: (done) => done(),
  });
  addConnectRoute(app, deps);
  return app;
}
