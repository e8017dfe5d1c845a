// The APNs simulator's process: stands for Apple in the local run.
// Guarantees: the only reader of process.env in this simulator.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle/lifecycle";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { readApnsSimulatorSettings, startApnsSimulator } from "./start-apns-simulator.js";

const settings = configOrExit("apns-simulator", () => readApnsSimulatorSettings(process.env));
const manifest = fileURLToPath(new URL("../../package.json", import.meta.url));
const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string };
const logger = createLogger({ service: "apns-simulator", level: settings.config.logLevel });

await runService({ logger, stopDeadlineMs: 10_000 }, (lifecycle) =>
  startApnsSimulator(settings, { version, logger, lifecycle }),
);
