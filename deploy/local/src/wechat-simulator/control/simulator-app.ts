// The WeChat simulator's single port: WeChat's interfaces and the control API.
// Guarantees: the control API has the shape of the public contract (DESIGN section 3, "Local run"). Unknown members are
// refused, and a refused request changes nothing.
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { refuseForeignHosts } from "../../simulator-control/refuse-foreign-hosts.js";
import type { Simulation } from "../state/simulation.js";
import { addWechatRoutes } from "../wechat/wechat-routes.js";
import { addControlRoutes } from "./control-routes.js";

export interface SimulatorAppDeps {
  readonly version: string;
  readonly logger: Logger;
  readonly simulation: Simulation;
}

const BODY_LIMIT_BYTES = 256 * 1024;

/** Builds the application without listening; call `listen()` on it. */
export async function buildSimulatorApp({ version, logger, simulation }: SimulatorAppDeps): Promise<HttpApp> {
  const app = await buildHttpApp({
    service: "wechat-simulator",
    version,
    logger,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    readiness: () => ({ ready: true, checks: {} }),
  });
  refuseForeignHosts(app);
  await addWechatRoutes(app, simulation);
  addControlRoutes(app, simulation);
  return app;
}
