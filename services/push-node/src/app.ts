// push-node: its HTTP application: the upgrade, health and version; without listening.
// Guarantees: what an unauthenticated socket may make this node hold is bounded. Closing the application cuts no socket
// off; the drain closes them before that.
import { buildHttpApp, type HttpApp, type Readiness } from "@petrel/shared/kernel/http/http-app";
import type { Service } from "@petrel/shared/service/open-service";
import { acceptUpgrade } from "./connect/accept-upgrade.js";
import { addConnectRoute, CONNECT_PATH, type ConnectRouteDeps } from "./connect/connect-route.js";
import { routeUpgrades } from "./connect/route-upgrades.js";
import type { FrameBounds } from "./connection/client-frames.js";

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

const BODY_LIMIT_BYTES = 16 * 1024;
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
  const { requests } = service;
  const upgraded = requests.route(CONNECT_PATH, "GET");
  upgraded.expect([UPGRADED]);
  const take = addConnectRoute(app, connect, (request, socket, head, handshake, askedAtMs) => {
    const ws = acceptUpgrade(request, socket, head, handshake, frames);
    if (ws === undefined) return undefined;
    requests.answered(request, upgraded, {
      requestId: handshake.requestId,
      status: UPGRADED,
      ms: performance.now() - askedAtMs,
    });
    return ws;
  });
  routeUpgrades(app, CONNECT_PATH, take);
  return app;
}
