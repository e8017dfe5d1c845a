// main.ts -> here -> start-<service>: a service's process, from its environment to its exit.
// Guarantees: nothing is opened before the whole configuration is valid; an invalid one prints one line on stderr and
// exits with 1.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { systemClock } from "../kernel/clock.js";
import { configOrExit, runService } from "../kernel/lifecycle/lifecycle.js";
import { createLogger } from "../kernel/logging/logging.js";
import { openService, readTrustedProxies, type Service, type ServiceConfig } from "./open-service.js";

export interface ProcessIdentity {
  readonly instance: string;
  /** Added to every log line, such as `{ node: … }`. */
  readonly logFields?: Readonly<Record<string, string>>;
}

export interface ServiceMain<S extends { readonly config: ServiceConfig }> {
  readonly name: string;
  /** The service's package.json, which holds its version. */
  readonly packageFile: URL;
  /** Reads the environment and the files that it names. */
  readonly read: () => S;
  readonly stopDeadlineMs: (settings: S) => number;
  /** Host and process id by default. */
  readonly identify?: (settings: S) => ProcessIdentity;
  /** True if the service also answers `/metrics` on its own port. */
  readonly servesMetrics?: boolean;
  /** Opens the service's own parts, and listens. */
  readonly start: (settings: S, service: Service) => Promise<unknown>;
}

/** Runs until a signal ends the process. */
export async function runMain<S extends { readonly config: ServiceConfig }>(
  main: ServiceMain<S>,
): Promise<void> {
  const { name, start, servesMetrics = false } = main;
  const settings = configOrExit(name, () => {
    const read = main.read();
    readTrustedProxies(read.config);
    return read;
  });
  const { instance, logFields } = main.identify?.(settings) ?? {
    instance: `${hostname()}.${process.pid}`,
    logFields: undefined,
  };
  const serviceLogger = createLogger({ service: name, level: settings.config.logLevel });
  const logger = logFields === undefined ? serviceLogger : serviceLogger.child(logFields);
  const { version } = JSON.parse(readFileSync(main.packageFile, "utf8")) as { readonly version: string };
  await runService({ logger, stopDeadlineMs: main.stopDeadlineMs(settings) }, async (lifecycle) => {
    const parts = { name, version, instance, logger, lifecycle, clock: systemClock, servesMetrics };
    await start(settings, await openService(settings.config, parts));
  });
}
