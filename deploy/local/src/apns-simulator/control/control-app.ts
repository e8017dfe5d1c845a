// The APNs simulator's control API, plain HTTP, for tests and the console.
// Guarantees: the shape of the public contract (DESIGN section 3, "Local run"). Unknown members are refused, and a
// refused request changes nothing.
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { ApnsServer } from "../apns/apns-server.js";
import { addBehaviourRoutes } from "./behaviour-routes.js";
import { addDeviceRoutes } from "./device-routes.js";
import type { Behaviour } from "../state/behaviour.js";
import type { ProviderTokens } from "../state/provider-tokens.js";
import { refuseForeignHosts } from "../../simulator-control/refuse-foreign-hosts.js";
import type { ReceivedNotifications } from "../state/received-notifications.js";
import type { RequestCounts } from "../state/request-counts.js";
import type { SimulatedDevices } from "../state/simulated-devices.js";

export interface ControlDeps {
  readonly version: string;
  readonly logger: Logger;
  readonly devices: SimulatedDevices;
  readonly behaviour: Behaviour;
  readonly notifications: ReceivedNotifications;
  readonly counts: RequestCounts;
  readonly providerTokens: ProviderTokens;
  readonly server: ApnsServer;
}

const BODY_LIMIT_BYTES = 64 * 1024;

/** Builds the application without listening; call `listen()` on it. */
export async function buildControlApp(deps: ControlDeps): Promise<HttpApp> {
  const { version, logger, counts, notifications, providerTokens, server } = deps;
  const app = await buildHttpApp({
    service: "apns-simulator",
    version,
    logger,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    readiness: () => ({ ready: true, checks: {} }),
  });
  refuseForeignHosts(app);
  addDeviceRoutes(app, deps);
  addBehaviourRoutes(app, deps);
  app.get("/stats", () => ({
    connections: { open: server.openConnections, opened: counts.connectionsOpened },
    streams: { open: server.openStreams, opened: counts.streamsOpened, most: counts.mostStreamsOpen },
    answers: counts.answers(),
    swallowed: counts.swallowed,
    refusedByGoaway: counts.refusedByGoaway,
    abandoned: counts.abandoned,
    providerTokens: providerTokens.distinct,
    repeatedApnsIds: notifications.repeats,
  }));
  return app;
}
