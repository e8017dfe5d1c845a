// Tests and benches only: a whole cluster of real processes on free ports, with its own Redis.
// Guarantees: resolves when every service is ready; `stop` leaves no process behind; output is kept for failures.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../free-port.js";
import { borrowRedis } from "../redis/kept-redis.js";
import { startRedis, type TestRedis } from "../redis/start-redis.js";
import { waitFor } from "../wait-for.js";
import { askService, type AskAnswer, type AskInit } from "./ask-service.js";
import { hangUp } from "./hang-up.js";
import type { HostedKind } from "./service-host.js";
import { nodeArgumentsOfRelease } from "./release-arguments.js";
import { builtTree, serviceFile } from "./service-files.js";
import { launchService, untilEnded, type ServiceProcess } from "./service-process.js";
import { workerHost } from "./worker-host.js";

export interface StartClusterOptions {
  readonly nodes?: number;
  readonly dispatchers?: number;
  readonly collects?: number;
  readonly appendOnly?: boolean;
  /** Environment for every service. */
  readonly environment?: Readonly<Record<string, string>>;
  /** More for one process, by its name, such as a Redis link through a fault proxy. */
  readonly environmentOf?: (name: string, redisUrl: string) => Readonly<Record<string, string>>;
  /** A Redis to use, which the caller stops; by default it starts its own. */
  readonly redis?: TestRedis;
  /** The environment makes every service speak TLS: URLs are https and wss. */
  readonly isTls?: boolean;
  /** How to send requests to the services; `askService` by default, which knows no TLS. */
  readonly ask?: (url: string, init?: AskInit) => Promise<AskAnswer>;
  /** Arguments for node itself, such as `--cpu-prof`. */
  readonly nodeArguments?: readonly string[];
  /** The Node that runs them; the one that runs this by default. */
  readonly nodeBinary?: string;
  /** A port for a process; a free one by default. */
  readonly choosePort?: () => Promise<number>;
  /** The root of the built tree to run a process from, asked at each start; this tree by default. */
  readonly releaseOf?: (name: string) => string;
  /**
   * Which services need no process of their own, because nobody kills, pauses or measures them: they share one with
   * those of other clusters, and start in a tenth of the time. None by default.
   */
  readonly together?: boolean | ((name: string) => boolean);
}

export interface TestCluster {
  readonly redis: TestRedis;
  readonly auth: ServiceProcess;
  /** The first of `collects`. */
  readonly collect: ServiceProcess;
  readonly collects: readonly ServiceProcess[];
  readonly dispatchers: readonly ServiceProcess[];
  readonly nodes: readonly ServiceProcess[];
  /** ws URLs, up to /v1/connect. */
  readonly nodeUrls: readonly string[];
  /** `key.secret` of a business system: every scope but admin. */
  readonly apiKey: string;
  /** `key.secret` with every scope. */
  readonly adminKey: string;
  /** Every service's process so far, without Redis; a restarted one follows its predecessor. */
  readonly processes: readonly ServiceProcess[];
  /** The newest process of this name, such as "push-node-1". Throws if there was none. */
  readonly newest: (name: string) => ServiceProcess;
  /** Starts one more process of a service in the same way. */
  readonly startNode: (name: string) => Promise<ServiceProcess>;
  /** Restarts a process that has ended: same name, same port. */
  readonly startAgain: (ended: ServiceProcess) => Promise<ServiceProcess>;
  /** A user's access token. @param topics what it may do with topics, as POST /v1/tokens takes it */
  readonly tokenFor: (userId: string, topics?: readonly unknown[]) => Promise<string>;
  /** POST to collect; rejects unless the answer is 2xx. */
  readonly post: (path: string, body: unknown) => Promise<unknown>;
  readonly stop: () => Promise<void>;
}

const START_ATTEMPTS = 3;

export async function startCluster(options: StartClusterOptions = {}): Promise<TestCluster> {
  const { nodes: nodeCount = 2, dispatchers: dispatcherCount = 1, isTls = false, ask = askService } = options;
  const { choosePort = freePort, together = false } = options;
  const secure = isTls ? "s" : "";
  const redis =
    options.redis ?? (await (options.appendOnly === true ? startRedis({ appendOnly: true }) : borrowRedis()));
  const directory = await mkdtemp(join(tmpdir(), "petrel-cluster-"));
  const api = makeKey("pk_test_api", ["send", "read", "tokens", "devices", "introspect"]);
  const admin = makeKey("pk_test_admin", ["send", "read", "tokens", "devices", "introspect", "admin"]);
  const keysFile = join(directory, "producer-keys.json");
  const encryptionFile = join(directory, "encryption-key");
  await writeFile(keysFile, JSON.stringify([api.record, admin.record]), { mode: 0o600 });
  await writeFile(encryptionFile, randomBytes(32).toString("base64"), { mode: 0o600 });

  const processes: ServiceProcess[] = [];
  const kindOf = new Map<string, HostedKind>();
  const authPort = await freePort();
  const environment: NodeJS.ProcessEnv = {
    PATH: process.env["PATH"],
    HOST: "127.0.0.1",
    REDIS_URL: redis.url,
    AUTH_URL: `http${secure}://127.0.0.1:${authPort}`,
    PRODUCER_KEYS_FILE: keysFile,
    KEY_ENCRYPTION_FILE: encryptionFile,
    DRAIN_WINDOW_MS: "200",
    // Tests connect thousands of clients from one address.
    CONNECTS_PER_ADDRESS_PER_MINUTE: "0",
    CONNECTS_PER_USER_PER_MINUTE: "0",
    // All of a test's clients have one address.
    FAILED_AUTHS_PER_ADDRESS_PER_MINUTE: "0",
    REQUESTS_PER_ADDRESS_PER_SECOND: "0",
    ...options.environment,
  };
  const startAt = async (kind: HostedKind, name: string, chosen: number): Promise<ServiceProcess> => {
    const logFile = join(directory, `${name}.log`);
    const settings = { ...environment, ...options.environmentOf?.(name, redis.url), NODE_NAME: name };
    const isTogether = typeof together === "boolean" ? together : together(name);
    const release = options.releaseOf?.(name) ?? builtTree;
    const started = isTogether
      ? workerHost(release).start({ kind, name, port: chosen, logFile, environment: settings })
      : await launchService(
          release,
          [
            ...(await nodeArgumentsOfRelease(release, kind)),
            ...(options.nodeArguments ?? []),
            serviceFile(`services/${kind}/dist/main.js`, release),
          ],
          name,
          chosen,
          logFile,
          settings,
          options.nodeBinary,
        );
    const service = { ...started, url: `http${secure}://127.0.0.1:${chosen}` };
    kindOf.set(name, kind);
    processes.push(service);
    await waitUntilReady(service, ask);
    return service;
  };
  const start = async (kind: HostedKind, name: string, port?: number): Promise<ServiceProcess> => {
    if (port !== undefined) return startAt(kind, name, port);
    for (let attempt = 1; ; attempt++) {
      const chosen = await choosePort();
      try {
        return await startAt(kind, name, chosen);
      } catch (error) {
        // Another process may have taken the port; Redis may be slow on a busy machine. A supervisor tries again, too.
        const passes = ["EADDRINUSE", "Redis does not answer"].some((why) => String(error).includes(why));
        if (attempt === START_ATTEMPTS || !passes) throw error;
        const failed = processes.findIndex((one) => one.name === name && one.port === chosen);
        await processes.splice(failed, 1)[0]?.exited;
      }
    }
  };
  const stop = async (): Promise<void> => {
    hangUp();
    for (const running of processes) if (running.isRunning()) running.signal("SIGCONT");
    for (const running of processes) if (running.isRunning()) running.signal("SIGTERM");
    await Promise.all(processes.map(untilEnded));
    if (options.redis === undefined) await redis.stop();
    await rm(directory, { recursive: true, force: true });
  };

  try {
    const auth = await start("auth", "auth", authPort);
    const [collects, dispatchers, nodes] = await Promise.all([
      Promise.all(collectNames(options.collects ?? 1).map((name) => start("collect", name))),
      Promise.all(numbered("dispatch", dispatcherCount).map((name) => start("dispatch", name))),
      Promise.all(numbered("push-node", nodeCount).map((name) => start("push-node", name))),
    ]);
    const request = async (
      url: string,
      key: string,
      body: unknown,
      isRepeatable = false,
    ): Promise<unknown> => {
      const response = await ask(url, {
        method: "POST",
        isRepeatable,
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`POST ${url}: ${response.status} ${text}`);
      return JSON.parse(text);
    };
    const [collect] = collects;
    if (collect === undefined) throw new Error("a cluster needs a collect");
    return {
      redis,
      auth,
      collect,
      collects,
      dispatchers,
      nodes,
      nodeUrls: nodes.map(({ port }) => `ws${secure}://127.0.0.1:${port}/v1/connect`),
      apiKey: api.presented,
      adminKey: admin.presented,
      processes,
      newest: (name) => {
        const found = processes.findLast((one) => one.name === name);
        if (found === undefined) throw new Error(`there is no process ${name}`);
        return found;
      },
      startNode: (name) => start("push-node", name),
      startAgain: async ({ name, port }) => {
        const kind = kindOf.get(name);
        if (kind === undefined) throw new Error(`there is no process ${name}`);
        return start(kind, name, port);
      },
      tokenFor: async (userId, topics) => {
        const body = topics === undefined ? { userId } : { userId, topics };
        const answer = await request(`${auth.url}/v1/tokens`, admin.presented, body, true);
        return (answer as { accessToken: string }).accessToken;
      },
      post: (path, body) => request(collect.url + path, api.presented, body),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function collectNames(count: number): string[] {
  return count === 1 ? ["collect"] : numbered("collect", count);
}

function numbered(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${name}-${i + 1}`);
}

function makeKey(id: string, scopes: readonly string[]) {
  const secret = randomBytes(32).toString("base64url");
  // The secret itself is stored, so the key may sign too.
  return { presented: `${id}.${secret}`, record: { id, owner: id, name: id, scopes, secret } };
}

async function waitUntilReady(
  service: ServiceProcess,
  ask: Required<StartClusterOptions>["ask"],
): Promise<void> {
  try {
    await waitFor(
      async () => {
        if (!service.isRunning()) return true;
        return (await ask(`${service.url}/health/ready`)).ok;
      },
      { what: `${service.name} to be ready`, deadlineMs: 90_000, everyMs: 50 },
    );
    if (!service.isRunning()) throw new Error(`${service.name} ended at its start`);
  } catch (error) {
    throw new Error(`${String(error)}\n${await service.log()}`, { cause: error });
  }
}
