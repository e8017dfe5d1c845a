// The WeChat simulator's process: stands for WeChat in the local run.
// Guarantees: the only reader of process.env in this simulator.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle/lifecycle";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { readWechatSimulatorSettings, startWechatSimulator } from "./start-wechat-simulator.js";

const settings = configOrExit("wechat-simulator", () => readWechatSimulatorSettings(process.env));
const manifest = fileURLToPath(new URL("../../package.json", import.meta.url));
const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string };
const logger = createLogger({ service: "wechat-simulator", level: settings.config.logLevel });

await runService({ logger, stopDeadlineMs: 10_000 }, (lifecycle) =>
  startWechatSimulator(settings, { version, logger, lifecycle }),
);
