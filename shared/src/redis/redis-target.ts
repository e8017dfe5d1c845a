// Configuration -> here -> connect: which Redis, and how to get in.
// Guarantees: one of three kinds; what contradicts itself or cannot be read is refused by name, never half understood;
// `address` names it without its password.
import { readFileSync } from "node:fs";
import { ConfigError } from "../kernel/config.js";
import { describeError } from "../kernel/errors.js";

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

interface RedisAccess {
  /** For logs and errors. */
  readonly address: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** Present where the link is encrypted. */
  readonly tls: { readonly ca?: string } | undefined;
}

export type RedisTarget = RedisAccess &
  (
    | { readonly kind: "standalone"; readonly server: RedisAddress; readonly database: number }
    | {
        readonly kind: "sentinel";
        readonly masterName: string;
        readonly sentinels: readonly RedisAddress[];
        readonly sentinelPassword: string | undefined;
        readonly database: number;
      }
    | { readonly kind: "cluster"; readonly seeds: readonly RedisAddress[] }
  );

/** What `redisSettings` of kernel/config reads. */
export interface RedisSettings {
  readonly redisUrl: string;
  readonly redisSentinels?: string | undefined;
  readonly redisSentinelPassword?: string | undefined;
  readonly redisCluster?: string | undefined;
  readonly redisCaFile?: string | undefined;
  readonly redisPasswordFile?: string | undefined;
}

const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26_379;

/** @throws ConfigError naming the variable that is wrong */
export function readRedisTarget(settings: RedisSettings): RedisTarget {
  const { redisUrl, redisSentinels, redisSentinelPassword, redisCluster, redisCaFile } = settings;
  if (redisSentinels !== undefined && redisCluster !== undefined) {
    throw new ConfigError("REDIS_SENTINELS and REDIS_CLUSTER are both set; set at most one of them");
  }
  const url = new URL(redisUrl);
  const isEncrypted = url.protocol === "rediss:";
  if (redisCaFile !== undefined && !isEncrypted) {
    throw new ConfigError("REDIS_CA_FILE is set, but REDIS_URL is not rediss://");
  }
  if (redisSentinelPassword !== undefined && redisSentinels === undefined) {
    throw new ConfigError("REDIS_SENTINEL_PASSWORD is set, but REDIS_SENTINELS is not");
  }
  const access = {
    username: decoded(url.username),
    password: readPassword(decoded(url.password), settings.redisPasswordFile),
    tls: isEncrypted
      ? redisCaFile === undefined
        ? {}
        : { ca: readText("REDIS_CA_FILE", redisCaFile) }
      : undefined,
  };
  if (redisCluster !== undefined) {
    if (readDatabase(url) !== 0)
      throw new ConfigError("REDIS_URL names a database; a Redis Cluster has only 0");
    const seeds = readAddresses("REDIS_CLUSTER", redisCluster, DEFAULT_PORT);
    return { kind: "cluster", address: `cluster ${redisCluster}`, seeds, ...access };
  }
  const database = readDatabase(url);
  if (redisSentinels !== undefined) {
    const at = redisSentinels.indexOf("@");
    const masterName = redisSentinels.slice(0, Math.max(at, 0)).trim();
    if (masterName === "") {
      throw new ConfigError("REDIS_SENTINELS must be master-name@host:port,host:port");
    }
    const sentinels = readAddresses("REDIS_SENTINELS", redisSentinels.slice(at + 1), DEFAULT_SENTINEL_PORT);
    const address = `sentinels ${redisSentinels}`;
    return {
      kind: "sentinel",
      address,
      masterName,
      sentinels,
      sentinelPassword: redisSentinelPassword,
      database,
      ...access,
    };
  }
  const server = { host: unbracketed(url.hostname), port: Number(url.port || DEFAULT_PORT) };
  return { kind: "standalone", address: `${url.protocol}//${url.host}`, server, database, ...access };
}

function decoded(part: string): string | undefined {
  return part === "" ? undefined : decodeURIComponent(part);
}

function readPassword(ofUrl: string | undefined, file: string | undefined): string | undefined {
  if (file === undefined) return ofUrl;
  if (ofUrl !== undefined) {
    throw new ConfigError("REDIS_PASSWORD_FILE is set, and REDIS_URL has a password too; give one of them");
  }
  // A secret that an editor or `echo` wrote ends with a line break.
  const password = readText("REDIS_PASSWORD_FILE", file).replace(/\r?\n$/, "");
  if (password === "") throw new ConfigError("REDIS_PASSWORD_FILE is empty");
  return password;
}

function unbracketed(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1") || "127.0.0.1";
}

function readDatabase({ pathname }: URL): number {
  const text = pathname.slice(1);
  if (text === "") return 0;
  if (!/^\d{1,5}$/.test(text))
    throw new ConfigError("REDIS_URL must end with the number of a database, or not at all");
  return Number(text);
}

function readAddresses(name: string, text: string, defaultPort: number): RedisAddress[] {
  const words = text.split(",").map((word) => word.trim());
  return words.map((word) => {
    const [, host, port] = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(word) ?? [];
    const number = Number(port ?? defaultPort);
    if (host === undefined || number < 1 || number > 65_535) {
      throw new ConfigError(`${name} must be a list of host:port, not ${JSON.stringify(word)}`);
    }
    return { host: unbracketed(host), port: number };
  });
}

function readText(name: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`${name} cannot be read: ${describeError(error)}`);
  }
}
