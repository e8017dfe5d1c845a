// main.ts, tests -> here -> app: the console's parts, wired.
// Guarantees: every part closes with the service's lifecycle.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { openClientTls } from "@petrel/shared/kernel/calls/client-tls-files";
import type { Service } from "@petrel/shared/service/open-service";
import { buildApp, type ConsoleDeps } from "./app.js";
import { createCallService } from "./call-service.js";
import type { ConsoleSettings } from "./config.js";

const CALL_TIMEOUT_MS = 10_000;

export async function startConsole(
  { config, credential }: ConsoleSettings,
  service: Service,
  directories: Pick<ConsoleDeps, "pageDirectory" | "sdkDirectory">,
): Promise<HttpApp> {
  const { logger } = service;
  const servicesTls = openClientTls({
    caFile: config.servicesCaFile,
    certFile: config.servicesCertFile,
    keyFile: config.servicesKeyFile,
    logger,
  });
  service.certificates.watch(...(servicesTls?.watchedAs("services") ?? []));
  const timeoutMs = CALL_TIMEOUT_MS;
  const callServiceAt = (name: string, baseUrl: string) =>
    createCallService({ name, baseUrl, credential, timeoutMs, tls: servicesTls });
  const simulatorAt = (name: string, baseUrl: string | undefined) =>
    baseUrl === undefined
      ? undefined
      : createCallService({ name, baseUrl, credential: undefined, timeoutMs });
  const app = await buildApp({
    service,
    callAuth: callServiceAt("auth", config.authUrl),
    callCollect: callServiceAt("collect", config.collectUrl),
    callApns: simulatorAt("the APNs simulator", config.apnsSimulatorUrl),
    callWebPush: simulatorAt("the Web Push simulator", config.webPushSimulatorUrl),
    nodeUrls: config.nodeUrls,
    ownNames: config.consoleHosts,
    ...directories,
  });
  await service.attach(app);
  await app.listen({ port: config.port, host: config.host });
  if (!/^(127\.|localhost$|::1$)/.test(config.host)) {
    logger.warn(
      { host: config.host },
      "anyone who can reach this address can impersonate any user: keep it private",
    );
  }
  logger.info({ port: config.port }, "the console listens");
  return app;
}
