// The local run from beginning to end: check, start in order, keep running, stop in order.
// Guarantees: each failure is one clear line and exit code 1; nothing that was started is left behind.
import { join, relative, resolve } from "node:path";
import { dieWithParentPrefix } from "@petrel/shared/embedded-redis/die-with-parent";
import { EmbeddedRedisError } from "@petrel/shared/embedded-redis/embedded-redis-error";
import type { Environment } from "@petrel/shared/embedded-redis/run-command";
import { describeError } from "@petrel/shared/kernel/errors";
import { nodeArgumentsOf } from "@petrel/shared/kernel/node-arguments";
import { awaitHealth } from "./processes/await-health.js";
import { describeEphemeral, readEphemeralPorts } from "./ports/ephemeral-ports.js";
import { checkPorts, type WantedPort } from "./ports/check-ports.js";
import { openDataDirectory, type DataDirectory } from "./data/data-directory.js";
import { describeCluster, removeDevFile, writeDevFile } from "./data/dev-file.js";
import { launchService } from "./processes/launch-service.js";
import { assignPorts, collectName, type LocalPorts } from "./ports/local-ports.js";
import { prepareRedis } from "./local-redis.js";
import { LocalRunError } from "./local-run-error.js";
import { loadSecrets, writeSecretFiles } from "./data/local-secrets.js";
import { OptionError, parseOptions, usage, type LocalOptions } from "./parse-options.js";
import { createPidFile } from "./data/pid-file.js";
import { writeTopicRules } from "./data/topic-rules-file.js";
import { summaryLines } from "./print-summary.js";
import { describeServices, type ServiceSpec } from "./processes/service-specs.js";
import { startServices, stopServices, type SupervisedService } from "./processes/service-groups.js";
import { secondsSince, superviseProcess, type SupervisedProcess } from "./processes/supervised-process.js";

export interface LocalRunContext {
  readonly args: readonly string[];
  readonly environment: Environment;
  readonly repositoryRoot: string;
  /** A line for the person at the terminal. */
  readonly say: (line: string) => void;
  /** A line about what is wrong. */
  readonly complain: (line: string) => void;
  /** Aborted by the first Ctrl-C or SIGTERM: stop cleanly. */
  readonly stopAsked: AbortSignal;
  /** Aborted by the second: stop at once. */
  readonly killAsked: AbortSignal;
}

/** @returns the exit code: 0 after a clean stop, 1 for a failure, 2 for a wrong option */
export async function runLocal(context: LocalRunContext): Promise<number> {
  const { args, environment, repositoryRoot, say, complain } = context;
  try {
    const options = parseOptions(args);
    if (options.help) {
      say(usage);
      return 0;
    }
    const ports = assignPorts(environment["PETREL_PORT_BASE"], options);
    const data = await openDataDirectory(
      resolve(environment["PETREL_DATA_DIR"] || join(repositoryRoot, ".data")),
    );
    try {
      return await runCluster(context, options, ports, data);
    } finally {
      await data.release();
    }
  } catch (error) {
    if (error instanceof OptionError) {
      complain(error.message);
      return 2;
    }
    if (error instanceof LocalRunError || error instanceof EmbeddedRedisError) {
      complain(error.message);
      return 1;
    }
    complain(`unexpected: ${describeError(error)}`);
    return 1;
  }
}

async function runCluster(
  { environment, repositoryRoot, say, stopAsked, killAsked }: LocalRunContext,
  options: LocalOptions,
  ports: LocalPorts,
  data: DataDirectory,
): Promise<number> {
  const startedAtMs = performance.now();
  await removeDevFile(data.path);
  const wanted = wantedPorts(ports, environment);
  const ephemeral = await readEphemeralPorts();
  await checkPorts(wanted, ephemeral);
  const warning = describeEphemeral(
    wanted.map(({ port }) => port),
    ephemeral,
  );
  if (warning !== undefined) say(`warning: ${warning}`);
  const pids = createPidFile(join(data.path, "pids.json"));
  const secrets = await loadSecrets(join(data.path, "secrets.json"));
  const secretFiles = await writeSecretFiles(data.secrets, secrets);
  const topicRules = await writeTopicRules(data.path);
  const redis = await prepareRedis({
    environment,
    port: ports.redis,
    directory: data.redis,
    cacheDirectory: join(repositoryRoot, ".cache"),
    password: secrets.redisPassword,
    passwordFile: secretFiles.redisPassword,
    restart: options.restart,
    say,
    onPid: (pid) => pids.set("redis", pid),
  });
  const prefix = await dieWithParentPrefix(environment);
  const { apnsKey } = secrets;
  const layout = { repositoryRoot, ports, redisEnvironment: redis.serviceEnvironment };
  const specs = describeServices({ ...layout, secretFiles, apnsKey, topicRules, environment });
  const services = specs.map((spec) => superviseService(spec, { prefix, data, say, pids, options }));

  killAsked.addEventListener("abort", () => {
    for (const { process } of services) process.kill();
    redis.supervised?.kill();
  });
  try {
    await startRedis(redis.supervised, redis.description, stopAsked, say);
    await startServices(services, { stopAsked, say });
    await pids.written();
    const cluster = describeCluster(ports, redis.url, secrets);
    await writeDevFile(data.path, cluster);
    const places = { repositoryRoot, dataDirectory: data.path };
    for (const line of summaryLines(cluster, places, secondsSince(startedAtMs))) say(line);
    await aborted(stopAsked);
  } catch (error) {
    // An interrupted start is not a failure.
    if (!stopAsked.aborted) throw error;
  } finally {
    await removeDevFile(data.path);
    say("stopping …");
    await stopServices(services, say);
    await redis.supervised?.stop();
    await pids.remove();
    say(killAsked.aborted ? "killed" : "stopped");
  }
  return killAsked.aborted ? 1 : 0;
}

interface SuperviseContext {
  readonly prefix: readonly string[];
  readonly data: DataDirectory;
  readonly say: (line: string) => void;
  readonly pids: ReturnType<typeof createPidFile>;
  readonly options: LocalOptions;
}

function superviseService(
  spec: ServiceSpec,
  { prefix, data, say, pids, options }: SuperviseContext,
): SupervisedService {
  const { name, script, environment, origin, kind } = spec;
  const logFile = join(data.logs, `${name}.log`);
  const process = superviseProcess({
    name,
    logFile: shownPath(logFile),
    launch: () =>
      launchService({ name, nodeArguments: nodeArgumentsOf(kind), script, environment, logFile, prefix }),
    untilReady: (signal) => awaitHealth(origin, signal),
    restart: options.restart,
    say,
    onPid: (pid) => pids.set(name, pid),
  });
  return { kind, process };
}

/** Relative if it is below the working directory. */
function shownPath(path: string): string {
  const short = relative(".", path);
  return short.startsWith("..") ? path : short;
}

async function startRedis(
  supervised: SupervisedProcess | undefined,
  description: string,
  stopAsked: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const startedAtMs = performance.now();
  if (supervised === undefined) {
    say(`redis … ready (${description}, the one of REDIS_URL)`);
    return;
  }
  await supervised.start(stopAsked);
  say(`redis … ready (${description}, ${secondsSince(startedAtMs)})`);
}

function wantedPorts(ports: LocalPorts, environment: Environment): WantedPort[] {
  const ownRedis = (environment["REDIS_URL"] ?? "") !== "";
  return [
    { port: ports.console, by: "console" },
    { port: ports.auth, by: "auth" },
    ...ports.collects.map((port, i) => ({ port, by: collectName(ports, i) })),
    ...ports.dispatchers.map((port, i) => ({ port, by: `dispatch-${i + 1}` })),
    ...ports.nodes.map((port, i) => ({ port, by: `push-node-${i + 1}` })),
    { port: ports.apnsControl, by: "apns-simulator" },
    { port: ports.apnsTls, by: "TLS of apns-simulator" },
    { port: ports.webPush, by: "web-push-simulator" },
    { port: ports.wechat, by: "wechat-simulator" },
    ...(ownRedis ? [] : [{ port: ports.redis, by: "redis" }]),
    { port: ports.metrics.auth, by: "metrics of auth" },
    ...ports.metrics.collects.map((port, i) => ({ port, by: `metrics of ${collectName(ports, i)}` })),
    ...ports.metrics.nodes.map((port, i) => ({ port, by: `metrics of push-node-${i + 1}` })),
  ];
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
