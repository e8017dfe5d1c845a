// The Web Push simulator's process: stands for push services and browsers in the local run and in tests.
// Guarantees: nothing listens before the configuration and the key are valid; the only reader of process.env in this
// simulator.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readConfig } from "@petrel/shared/kernel/config";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle/lifecycle";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { encodeVapidKey, readVapidPublicKey } from "@petrel/shared/security/web-push/vapid-key";
import { webPushSimulatorConfigSchema } from "./config.js";
import { buildPushApp } from "./push-app.js";
import { Subscriptions } from "./subscriptions.js";

const { config, key } = configOrExit("web-push-simulator", () => {
  const config = readConfig(webPushSimulatorConfigSchema, process.env);
  return { config, key: encodeVapidKey(readVapidPublicKey(config.keyFile)) };
});
const file = fileURLToPath(new URL("../../package.json", import.meta.url));
const { version } = JSON.parse(readFileSync(file, "utf8")) as { readonly version: string };
const logger = createLogger({ service: "web-push-simulator", level: config.logLevel });

await runService({ logger, stopDeadlineMs: 10_000 }, async (lifecycle) => {
  const origin = `http://127.0.0.1:${config.port}`;
  const subscriptions = new Subscriptions({ origin, applicationServerKey: key });
  const app = await buildPushApp({ version, logger, origin, subscriptions, nowMs: () => Date.now() });
  lifecycle.onStop("http", () => app.close());
  await app.listen({ port: config.port, host: config.host });
  logger.info({ port: config.port }, "the Web Push simulator listens");
});
