// service-host -> here: the process that several services of test clusters share.
// Guarantees: each service has its own settings, logger and lifecycle, as in a process of its own; a start that fails
// ends that service alone. The process ends with the one that started it.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { systemClock } from "../../kernel/clock.js";
import { describeError } from "../../kernel/errors.js";
import { createLifecycle, type Lifecycle } from "../../kernel/lifecycle/lifecycle.js";
import { createLogger } from "../../kernel/logging/logging.js";
import { CompiledSchemas } from "../../kernel/schemas/compile-when-used.js";
import { openService, type Service, type ServiceConfig } from "../../service/open-service.js";
import { hangUp } from "./hang-up.js";
import { builtTree, serviceFile } from "./service-files.js";
import type { HostAnswer, HostOrder, HostedKind, StartOrder } from "./service-host.js";

interface Settings {
  readonly config: ServiceConfig;
}

interface ServiceModules {
  readonly version: string;
  readonly read: (environment: NodeJS.ProcessEnv) => Settings;
  readonly start: (settings: Settings, service: Service) => Promise<unknown>;
}

const exportsOf: Readonly<Record<HostedKind, { readonly read: string; readonly start: string }>> = {
  auth: { read: "readAuthSettings", start: "startAuth" },
  collect: { read: "readCollectSettings", start: "startCollect" },
  dispatch: { read: "readDispatchSettings", start: "startDispatch" },
  "push-node": { read: "readPushNodeSettings", start: "startPushNode" },
};
const STOP_DEADLINE_MS = 15_000;
const lifecycles = new Map<number, Lifecycle>();
const compiledSchemas = new CompiledSchemas();

/** The services are built beside `shared` and import it: it cannot import them by name. */
async function loadService(kind: HostedKind): Promise<ServiceModules> {
  const folder = `services/${kind}`;
  const names = exportsOf[kind];
  const [config, start] = (await Promise.all(
    [`${folder}/dist/config.js`, `${folder}/dist/start-${kind}.js`].map(
      (path) => import(pathToFileURL(serviceFile(path)).href),
    ),
  )) as [Record<string, ServiceModules["read"]>, Record<string, ServiceModules["start"]>];
  const [read, begin] = [config[names.read], start[names.start]];
  if (read === undefined || begin === undefined) throw new Error(`${folder} has another wiring`);
  const { version } = JSON.parse(readFileSync(join(builtTree, folder, "package.json"), "utf8")) as {
    version: string;
  };
  return { version, read, start: begin };
}

async function startService({ id, kind, name, environment, logFile }: StartOrder): Promise<void> {
  const logger = createLogger({ service: kind, level: environment["LOG_LEVEL"] ?? "info", file: logFile });
  const instance = `${name}.${Date.now().toString(36)}${randomBytes(2).toString("hex")}`;
  const fields = { "push-node": { node: instance }, dispatch: { dispatcher: instance } };
  const lifecycle = createLifecycle({
    logger: logger.child(kind in fields ? fields[kind as keyof typeof fields] : {}),
    stopDeadlineMs: STOP_DEADLINE_MS,
    exit: (code) => answer({ id, exitCode: code }),
  });
  lifecycles.set(id, lifecycle);
  try {
    const { version, read, start } = await loadService(kind);
    const settings = read(environment);
    const parts = { name: kind, version, instance, logger, lifecycle, clock: systemClock, compiledSchemas };
    await start(
      settings,
      await openService(settings.config, { ...parts, servesMetrics: kind === "dispatch" }),
    );
  } catch (error) {
    logger.fatal({ reason: describeError(error) }, "start failed");
    await lifecycle.stop("start failed");
    answer({ id, exitCode: 1 });
  }
}

async function stopService(id: number): Promise<void> {
  // A service that fetches would hang up by ending its process.
  hangUp();
  await lifecycles.get(id)?.stop("SIGTERM");
  lifecycles.delete(id);
  answer({ id, exitCode: 0 });
}

function answer(message: HostAnswer): void {
  process.send?.(message);
}

process.on("message", (order: HostOrder) => {
  void (order.do === "start" ? startService(order) : stopService(order.id));
});
process.on("disconnect", () => process.exit());
