// The local run: this cluster's Redis, the user's own or an embedded one.
// Guarantees: when it is returned it answers and keeps data. An embedded one is kept running like a service, and
// requires a password.
import { join } from "node:path";
import { findRedisServer } from "@petrel/shared/embedded-redis/install/find-redis-server";
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import type { Environment } from "@petrel/shared/embedded-redis/run-command";
import { startRedisServer } from "@petrel/shared/embedded-redis/start-redis-server";
import { ConfigError } from "@petrel/shared/kernel/config";
import { readRedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { checkRedis } from "./check-redis.js";
import { LocalRunError } from "./local-run-error.js";
import {
  superviseProcess,
  type SupervisedOptions,
  type SupervisedProcess,
} from "./processes/supervised-process.js";
import { parseUrl } from "@petrel/shared/kernel/parse-url";

export interface LocalRedis {
  /** Includes the password, if there is one. */
  readonly url: string;
  /** The variables with which services reach it. */
  readonly serviceEnvironment: Environment;
  /** Such as "Redis 7.0.15". */
  readonly description: string;
  /** Undefined if the Redis is the user's own. */
  readonly supervised: SupervisedProcess | undefined;
}

export interface LocalRedisOptions extends Pick<SupervisedOptions, "restart" | "say" | "onPid"> {
  readonly environment: Environment;
  readonly port: number;
  readonly directory: string;
  readonly cacheDirectory: string;
  /** Of an embedded one. */
  readonly password: string;
  /** The file that has it. */
  readonly passwordFile: string;
}

/** Loading a large append-only file takes time. */
const loadDeadlineMs = 60_000;

/**
 * Finds the Redis; an embedded one is not started yet.
 * @throws LocalRunError or EmbeddedRedisError
 */
export async function prepareRedis(options: LocalRedisOptions): Promise<LocalRedis> {
  const { environment, port, directory, cacheDirectory, password, passwordFile, say } = options;
  const own = environment["REDIS_URL"];
  if (own !== undefined && own !== "") {
    const url = withPasswordOf(environment["REDIS_PASSWORD_FILE"], own);
    const description = await checkRedis(url);
    return { url, serviceEnvironment: { REDIS_URL: own }, description, supervised: undefined };
  }
  const binary = await findRedisServer({ environment, cacheDirectory, onProgress: say });
  const url = `redis://:${password}@127.0.0.1:${port}`;
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
        password,
        // With "everysec" each message would wait for the next second's sync, or the service would be refused.
        appendFsync: environment["ACCEPT_DURABILITY"] === "aof" ? "always" : "everysec",
        readyDeadlineMs: loadDeadlineMs,
      }),
    untilReady: async () => void (await probeRedis(url, [["PING"]])),
  });
  return {
    url,
    serviceEnvironment: { REDIS_URL: `redis://127.0.0.1:${port}`, REDIS_PASSWORD_FILE: passwordFile },
    description: `${binary.product} ${binary.version}`,
    supervised,
  };
}

/**
 * The user's own Redis, with the password in the URL.
 * @throws LocalRunError
 */
function withPasswordOf(file: string | undefined, own: string): string {
  // An invalid URL is reported by the later check.
  const url = parseUrl(own);
  if (file === undefined || file === "" || url === undefined) return own;
  try {
    const { access } = readRedisTarget({ redisUrl: own, redisPasswordFile: file });
    const { password = "" } = access.credentials;
    url.password = encodeURIComponent(password);
    return url.href;
  } catch (error) {
    if (error instanceof ConfigError) throw new LocalRunError(error.message, { cause: error });
    throw error;
  }
}
