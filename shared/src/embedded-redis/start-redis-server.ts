// Embedded Redis: a real server as a child process, for `npm start` and for the tests.
// Guarantees: once returned, it has loaded its data and answers; on Linux it does not outlive this process. Its
// password appears in no error, and in no argument, which any user of the machine could read.
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { dieWithParentPrefix } from "./die-with-parent.js";
import { EmbeddedRedisError } from "./embedded-redis-error.js";
import { runtimeEnvironment, type RedisBinary } from "./inspect-server.js";
import {
  launchProcess,
  type LaunchedProcess,
  type LaunchProcess,
  type ProcessExit,
} from "./launch-process.js";
import { probeRedis } from "./resp-probe.js";
import type { Environment } from "./run-command.js";

export interface StartRedisServerOptions {
  readonly binary: RedisBinary;
  readonly port: number;
  /** Data and log (`redis.log`) live here; created if missing. */
  readonly directory: string;
  readonly environment: Environment;
  /** Append-only file (default), or no persistence at all. */
  readonly appendOnly?: boolean;
  /** When the append-only file is synced to the disk: every second (default), or before each answer. */
  readonly appendFsync?: "everysec" | "always";
  /** Every client must give it (`requirepass`). Without one, every program on this machine gets in. */
  readonly password?: string;
  /** More of redis.conf, as on the command line: `["--maxmemory", "8mb"]`. */
  readonly extraArgs?: readonly string[];
  /** A redis.conf to start from, for a server that writes its own settings: a sentinel. */
  readonly configFile?: string;
  /** How long it may take to load and answer. */
  readonly readyDeadlineMs?: number;
  /** What `dieWithParentPrefix` has found, for a caller that starts many. */
  readonly prefix?: readonly string[];
  /** Starts its process; a child of this one by default. */
  readonly launch?: LaunchProcess;
}

export interface RedisServer {
  /** Includes the password, if there is one. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly directory: string;
  readonly logFile: string;
  /** Resolves when the process has ended, whoever ended it. */
  readonly exited: Promise<ProcessExit>;
  /** Asks it to shut down (its files are synced) and kills it after the deadline; resolves when it is gone. */
  stop(options?: { readonly deadlineMs?: number }): Promise<void>;
  /** Kills it as a crash would, or pauses and continues it. */
  signal(signal: NodeJS.Signals): void;
}

/** @throws EmbeddedRedisError "did-not-start" with the last lines of its log */
export async function startRedisServer(options: StartRedisServerOptions): Promise<RedisServer> {
  const { binary, port, directory, environment, password, readyDeadlineMs = 30_000 } = options;
  const { launch = launchProcess } = options;
  await mkdir(directory, { recursive: true });
  const logFile = join(directory, "redis.log");
  const prefix = options.prefix ?? (await dieWithParentPrefix(environment));
  const [command = binary.path, ...args] = [...prefix, binary.path, ...serverArgs(options)];
  const logStart = await sizeOf(logFile);
  const server = await launch({
    command,
    args,
    cwd: directory,
    environment: runtimeEnvironment(binary, environment),
    logFile,
    ...(password === undefined ? {} : { input: `requirepass ${JSON.stringify(password)}\n` }),
  });
  if (server === undefined) throw new EmbeddedRedisError("did-not-start", `${command} does not run`);
  const { pid, exited } = server;
  const killWithUs = (): void => server.signal("SIGKILL");
  process.once("exit", killWithUs);
  void exited.then(() => process.off("exit", killWithUs));

  const login = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
  const url = `redis://${login}127.0.0.1:${port}`;
  const problem = await untilReady(url, server, readyDeadlineMs);
  if (problem !== undefined) {
    server.signal("SIGKILL");
    await exited;
    const lines = await lastLines(logFile, logStart);
    const said = password === undefined ? lines : lines.replaceAll(password, "[redacted]");
    throw new EmbeddedRedisError("did-not-start", `redis-server on port ${port} ${problem}: ${said}`);
  }
  return {
    url,
    port,
    pid,
    directory,
    logFile,
    exited,
    stop: (stopOptions) => stop(server, stopOptions?.deadlineMs ?? 10_000),
    signal: (signal) => server.signal(signal),
  };
}

function serverArgs({
  port,
  directory,
  appendOnly = true,
  appendFsync = "everysec",
  password,
  extraArgs = [],
  configFile,
}: StartRedisServerOptions): string[] {
  const settings = {
    port: String(port),
    bind: "127.0.0.1",
    dir: directory,
    daemonize: "no",
    appendonly: appendOnly ? "yes" : "no",
    appendfsync: appendFsync,
    save: "",
    "maxmemory-policy": "noeviction",
    // Most inboxes hold few messages, but Redis allocates a whole node for the first: docs/operate/sizing.md.
    "stream-node-max-bytes": "1024",
  };
  return [
    ...(configFile === undefined ? [] : [configFile]),
    ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    ...extraArgs,
    // Must be last: more settings come on standard input.
    ...(password === undefined ? [] : ["-"]),
  ];
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}

/** @returns what went wrong, completing "redis-server …"; undefined once it answers */
async function untilReady(
  url: string,
  { pid, exited }: LaunchedProcess,
  deadlineMs: number,
): Promise<string | undefined> {
  const end = performance.now() + deadlineMs;
  let ended = false;
  void exited.then(() => (ended = true));
  while (performance.now() < end) {
    if (ended) return "ended at once";
    // While it loads it answers "-LOADING"; the process id tells it from another server on the same port.
    const [pong, info] = await probeRedis(url, [["PING"], ["INFO", "server"]], { deadlineMs: 1_000 }).catch(
      () => [],
    );
    if (pong === "PONG" && typeof info === "string" && info.includes(`process_id:${pid}\r\n`))
      return undefined;
    await Promise.race([sleep(15), exited]);
  }
  return `did not answer within ${deadlineMs} ms`;
}

/** The end of this run's log: the last lines say why it ended. */
async function lastLines(logFile: string, from: number): Promise<string> {
  const text = (await readFile(logFile)).subarray(from).toString("utf8");
  return text.trim().split(/\n+/).slice(-3).join(" ");
}

async function stop(server: LaunchedProcess, deadlineMs: number): Promise<void> {
  // On SIGTERM Redis does what SHUTDOWN does: https://redis.io/docs/latest/operate/oss_and_stack/reference/signals/
  server.signal("SIGTERM");
  // A paused process takes no SIGTERM.
  server.signal("SIGCONT");
  const timer = setTimeout(() => server.signal("SIGKILL"), deadlineMs);
  await server.exited;
  clearTimeout(timer);
}
