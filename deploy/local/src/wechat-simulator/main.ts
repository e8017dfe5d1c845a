// The WeChat simulator's process: stands for WeChat in the local run and in tests.
// Guarantees: nothing listens before the configuration and the apps are valid; the only reader of process.env in this
// simulator.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readConfig } from "@petrel/shared/kernel/config";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle/lifecycle";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { wechatSimulatorConfigSchema } from "./config.js";
import { buildSimulatorApp } from "./control/simulator-app.js";
import { parseSimulatedApps } from "./state/simulated-apps.js";
import { Simulation } from "./state/simulation.js";

const { config, apps } = configOrExit("wechat-simulator", () => {
  const config = readConfig(wechatSimulatorConfigSchema, process.env);
  return { config, apps: parseSimulatedApps(readFileSync(config.appsFile, "utf8")) };
});
const manifest = fileURLToPath(new URL("../../package.json", import.meta.url));
const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string };
const logger = createLogger({ service: "wechat-simulator", level: config.logLevel });

await runService({ logger, stopDeadlineMs: 10_000 }, async (lifecycle) => {
  const app = await buildSimulatorApp({ version, logger, simulation: new Simulation(apps) });
  lifecycle.onStop("http", () => app.close());
  await app.listen({ port: config.port, host: config.host });
  logger.info({ port: config.port }, "the WeChat simulator listens");
});
