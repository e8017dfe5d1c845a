// The local run: the Redis of this cluster, the user's own or an embedded one.
// Guarantees: when it is returned it answers and keeps data; an embedded one is kept running like a service.
import { join } from "node:path";
import { findRedisServer } from "@petrel/shared/embedded-redis/find-redis-server";
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import type { Environment } from "@petrel/shared/embedded-redis/run-command";
import { startRedisServer } from "@petrel/shared/embedded-redis/start-redis-server";
import { checkRedis } from "./check-redis.js";
import { superviseProcess, type SupervisedOptions, type SupervisedProcess } from "./supervised-process.js";

export interface LocalRedis {
  readonly url: string;
  /** Such as "Redis 7.0.15". */
  readonly description: string;
  /** Undefined where the Redis is the user's own. */
  readonly supervised: SupervisedProcess | undefined;
}

export interface LocalRedisOptions extends Pick<SupervisedOptions, "restart" | "say" | "onPid"> {
  readonly environment: Environment;
  readonly port: number;
  readonly directory: string;
  readonly cacheDirectory: string;
}

/** Loading a large append-only file takes its time. */
const loadDeadlineMs = 60_000;

/**
 * Finds the Redis; an embedded one is not started yet.
 * @throws LocalRunError or EmbeddedRedisError
 */
export async function prepareRedis(options: LocalRedisOptions): Promise<LocalRedis> {
  const { environment, port, directory, cacheDirectory, say } = options;
  const own = environment["REDIS_URL"];
  if (own !== undefined && own !== "") {
    return { url: own, description: await checkRedis(own), supervised: undefined };
  }
  const binary = await findRedisServer({ environment, cacheDirectory, onProgress: say });
  const url = `redis://127.0.0.1:${port}`;
  const supervised = superviseProcess({
    ...options,
    name: "redis",
    logFile: join(directory, "redis.log"),
    launch: () =>
      startRedisServer({
        binary,
        port,
        directory,
        environment,
        // Otherwise each message would wait for the next second's sync, or the service be refused.
        appendFsync: environment["ACCEPT_DURABILITY"] === "aof" ? "always" : "everysec",
        readyDeadlineMs: loadDeadlineMs,
      }),
    untilReady: async () => void (await probeRedis(url, [["PING"]])),
  });
  return { url, description: `${binary.product} ${binary.version}`, supervised };
}
