// The console's process: a page on which people see what goes on.
// Guarantees: nothing listens before the configuration, the key file and the page's files are good; the only
// reader of process.env here.
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { openClientTls } from "@petrel/shared/kernel/tls/client-tls-files";
import { ConfigError, readConfig } from "@petrel/shared/kernel/config";
import { configOrExit, runService } from "@petrel/shared/kernel/lifecycle/lifecycle";
import { openListenerTls } from "@petrel/shared/kernel/tls/listener-tls";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { serveMetrics } from "@petrel/shared/kernel/http/serve-metrics";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { buildApp } from "./app.js";
import { createCallService } from "./call-service.js";
import { consoleConfigSchema } from "./config.js";
import { readKeyFile } from "./read-key-file.js";

const CALL_TIMEOUT_MS = 10_000;

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const pageDirectory = at("../public/");
const sdkDirectory = at("../../../clients/browser/dist/");

const { config, credential } = configOrExit("console", () => {
  const config = readConfig(consoleConfigSchema, process.env);
  for (const url of config.nodeUrls) {
    if (!/^wss?:\/\//.test(url) || !URL.canParse(url)) {
      throw new ConfigError(`NODE_URLS must be ws:// or wss:// URLs, not ${JSON.stringify(url)}`);
    }
  }
  const { apnsSimulatorUrl } = config;
  if (apnsSimulatorUrl !== undefined && !/^https?:\/\//.test(apnsSimulatorUrl)) {
    throw new ConfigError(`APNS_SIMULATOR_URL must be a URL with http:// or https://`);
  }
  if (!existsSync(`${sdkDirectory}client.js`)) {
    throw new ConfigError(`the SDK is not built: there is no client.js in ${sdkDirectory}`);
  }
  return { config, credential: readKeyFile(config.apiKeyFile) };
});
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};
const logger = createLogger({ service: "console", level: config.logLevel });

await runService({ logger, stopDeadlineMs: 10_000 }, async (lifecycle) => {
  const tls = await openListenerTls(config, { logger, lifecycle });
  const servicesTls = openClientTls({
    caFile: config.servicesCaFile,
    certFile: config.servicesCertFile,
    keyFile: config.servicesKeyFile,
    logger,
  });
  tls.certificates.watch(...(servicesTls?.watchedAs("services") ?? []));
  const callServiceAt = (name: string, baseUrl: string) =>
    createCallService({ name, baseUrl, credential, timeoutMs: CALL_TIMEOUT_MS, tls: servicesTls });
  const callSimulator = (baseUrl: string | undefined) =>
    baseUrl === undefined
      ? undefined
      : createCallService({
          name: "the APNs simulator",
          baseUrl,
          credential: undefined,
          timeoutMs: CALL_TIMEOUT_MS,
        });
  const app = await buildApp({
    version,
    tls: tls.http,
    logger,
    callAuth: callServiceAt("auth", config.authUrl),
    callCollect: callServiceAt("collect", config.collectUrl),
    callApns: callSimulator(config.apnsSimulatorUrl),
    nodeUrls: config.nodeUrls,
    ownNames: config.consoleHosts,
    pageDirectory,
    sdkDirectory,
  });
  if (config.metricsPort !== undefined) {
    const registry = createRegistry("console", version);
    tls.certificates.register(registry);
    const metrics = await serveMetrics({
      registry,
      port: config.metricsPort,
      host: config.metricsHost,
      tls: tls.metrics,
      health: (path) => app.inject(path),
    });
    lifecycle.onStop("metrics", () => void metrics.close());
  }
  lifecycle.onStop("http", () => app.close());
  await app.listen({ port: config.port, host: config.host });
  if (!/^(127\.|localhost$|::1$)/.test(config.host)) {
    logger.warn({ host: config.host }, "whoever reaches this address can become any user: keep it private");
  }
  logger.info({ port: config.port }, "the console listens");
});
