// push-node: its HTTP application: the upgrade, health and version; without listening.
// Guarantees: stopping the application cuts no socket: that is the drain's duty, which comes before.
import websocket from "@fastify/websocket";
import { buildHttpApp, type HttpApp, type Readiness } from "@petrel/shared/kernel/http-app";
import { addConnectRoute, type ConnectRouteDeps } from "./connect-route.js";
import { SUBPROTOCOL } from "./read-handshake.js";

export interface PushNodeDeps extends ConnectRouteDeps {
  readonly version: string;
  readonly readiness: () => Promise<Readiness>;
  readonly maxFrameBytes: number;
  readonly maxFragments: number;
}

const BODY_LIMIT_BYTES = 16 * 1024;
/** How long a client may take to answer a close before its socket is cut; an option of `ws` its types do not know. */
const CLOSING = { closeTimeout: 5_000 } as const;

export async function buildApp(deps: PushNodeDeps): Promise<HttpApp> {
  const { version, logger, readiness, maxFrameBytes, maxFragments } = deps;
  const app = await buildHttpApp({
    service: "push-node",
    version,
    logger,
    readiness,
    bodyLimitBytes: BODY_LIMIT_BYTES,
  });
  await app.register(websocket, {
    options: {
      maxPayload: maxFrameBytes,
      maxFragments,
      perMessageDeflate: false,
      // The registry knows them; a second list would only cost memory.
      clientTracking: false,
      ...CLOSING,
      handleProtocols: (protocols) => (protocols.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    },
    // The plugin's own would cut every socket at once, without a code.
    preClose: (done) => done(),
  });
  addConnectRoute(app, deps);
  return app;
}
