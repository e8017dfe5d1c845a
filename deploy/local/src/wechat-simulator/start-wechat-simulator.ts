// main (and the process that tests share) -> here: opens the WeChat simulator's port.
// Guarantees: nothing listens before the configuration and the apps are valid; what is open closes with the lifecycle.
import { readFileSync } from "node:fs";
import { readConfig } from "@petrel/shared/kernel/config";
import type { Lifecycle } from "@petrel/shared/kernel/lifecycle/lifecycle";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { wechatSimulatorConfigSchema } from "./config.js";
import { buildSimulatorApp } from "./control/simulator-app.js";
import { parseSimulatedApps } from "./state/simulated-apps.js";
import { Simulation } from "./state/simulation.js";

/** @throws ConfigError if the settings do not fit together, or the file cannot be read */
export function readWechatSimulatorSettings(environment: NodeJS.ProcessEnv) {
  const config = readConfig(wechatSimulatorConfigSchema, environment);
  return { config, apps: parseSimulatedApps(readFileSync(config.appsFile, "utf8")) };
}

export async function startWechatSimulator(
  { config, apps }: ReturnType<typeof readWechatSimulatorSettings>,
  {
    version,
    logger,
    lifecycle,
  }: { readonly version: string; readonly logger: Logger; readonly lifecycle: Lifecycle },
): Promise<void> {
  const app = await buildSimulatorApp({ version, logger, simulation: new Simulation(apps) });
  lifecycle.onStop("http", () => app.close());
  await app.listen({ port: config.port, host: config.host });
  logger.info({ port: config.port }, "the WeChat simulator listens");
}
