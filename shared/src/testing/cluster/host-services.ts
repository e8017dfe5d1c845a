// service-host -> here: the process that several services of test clusters share, and the simulators of phones.
// Guarantees: each service has its own settings, logger and lifecycle, as in a process of its own; a start that fails
// ends that service alone. The process ends with the one that started it.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { systemClock } from "../../kernel/clock.js";
import { describeError } from "../../kernel/errors.js";
import { createLifecycle, type Lifecycle } from "../../kernel/lifecycle/lifecycle.js";
import { createLogger, type Logger } from "../../kernel/logging/logging.js";
import { CompiledSchemas } from "../../kernel/schemas/compile-when-used.js";
import { openService, type Service, type ServiceConfig } from "../../service/open-service.js";
import { hangUp } from "./hang-up.js";
import { builtTree, serviceFile } from "./service-files.js";
import type { HostAnswer, HostedKind, HostedSimulator, HostOrder, StartOrder } from "./service-host.js";

/** What a process has before it knows what it runs. */
interface Parts {
  readonly instance: string;
  readonly logger: Logger;
  readonly lifecycle: Lifecycle;
}
type Open = (environment: NodeJS.ProcessEnv, parts: Parts) => Promise<unknown>;

/** How a module calls what it exports. */
interface Names {
  readonly read: string;
  readonly start: string;
}

const services: Readonly<Record<HostedKind, Names>> = {
  auth: { read: "readAuthSettings", start: "startAuth" },
  collect: { read: "readCollectSettings", start: "startCollect" },
  dispatch: { read: "readDispatchSettings", start: "startDispatch" },
  "push-node": { read: "readPushNodeSettings", start: "startPushNode" },
};
const simulators: Readonly<Record<HostedSimulator, Names>> = {
  "apns-simulator": { read: "readApnsSimulatorSettings", start: "startApnsSimulator" },
  "wechat-simulator": { read: "readWechatSimulatorSettings", start: "startWechatSimulator" },
};
const STOP_DEADLINE_MS = 15_000;
const lifecycles = new Map<number, Lifecycle>();
const compiledSchemas = new CompiledSchemas();

/** They are built beside `shared` and import it: it cannot import them by name. */
async function load<T>(path: string, name: string): Promise<T> {
  const found = ((await import(pathToFileURL(serviceFile(path)).href)) as Record<string, T>)[name];
  if (found === undefined) throw new Error(`${path} has no ${name}`);
  return found;
}

function versionOf(folder: string): string {
  const manifest = readFileSync(join(builtTree, folder, "package.json"), "utf8");
  return (JSON.parse(manifest) as { readonly version: string }).version;
}

async function loadService(kind: HostedKind): Promise<Open> {
  const folder = `services/${kind}`;
  const { read: reads, start: starts } = services[kind];
  const [read, start] = await Promise.all([
    load<(environment: NodeJS.ProcessEnv) => { readonly config: ServiceConfig }>(
      `${folder}/dist/config.js`,
      reads,
    ),
    load<(settings: unknown, service: Service) => Promise<unknown>>(
      `${folder}/dist/start-${kind}.js`,
      starts,
    ),
  ]);
  const common = { name: kind, version: versionOf(folder), clock: systemClock, compiledSchemas };
  return async (environment, parts) => {
    const settings = read(environment);
    const options = { ...common, ...parts, servesMetrics: kind === "dispatch" };
    return start(settings, await openService(settings.config, options));
  };
}

async function loadSimulator(kind: HostedSimulator): Promise<Open> {
  const file = `deploy/local/dist/${kind}/start-${kind}.js`;
  const { read: reads, start: starts } = simulators[kind];
  const read = await load<(environment: NodeJS.ProcessEnv) => unknown>(file, reads);
  const start = await load<(settings: unknown, parts: Parts & { version: string }) => Promise<void>>(
    file,
    starts,
  );
  return (environment, parts) => start(read(environment), { ...parts, version: versionOf("deploy/local") });
}

const isSimulator = (kind: StartOrder["kind"]): kind is HostedSimulator => kind in simulators;

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
    const open = await (isSimulator(kind) ? loadSimulator(kind) : loadService(kind));
    await open(environment, { instance, logger, lifecycle });
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
