// Configuration -> here -> connect: which Redis, and how to authenticate.
// Guarantees: one of three kinds. Contradictory or unreadable settings are refused by name, never half understood.
// `address` names the server without its password.
import { ConfigError } from "../../kernel/config.js";
import { RedisAccess } from "./redis-access.js";

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

export type RedisTarget = {
  /** For logs and errors. */
  readonly address: string;
  readonly access: RedisAccess;
} & (
  | { readonly kind: "standalone"; readonly server: RedisAddress; readonly database: number }
  | {
      readonly kind: "sentinel";
      readonly masterName: string;
      readonly sentinels: readonly RedisAddress[];
      readonly database: number;
    }
  | { readonly kind: "cluster"; readonly seeds: readonly RedisAddress[] }
);

/** The settings that `redisSettings` of kernel/common-settings reads. */
export interface RedisSettings {
  readonly redisUrl: string;
  readonly redisSentinels?: string | undefined;
  readonly redisSentinelPassword?: string | undefined;
  readonly redisSentinelPasswordFile?: string | undefined;
  readonly redisCluster?: string | undefined;
  readonly redisCaFile?: string | undefined;
  readonly redisCertFile?: string | undefined;
  readonly redisKeyFile?: string | undefined;
  readonly redisPasswordFile?: string | undefined;
}

const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26_379;

/** @throws ConfigError naming the variable that is wrong */
export function readRedisTarget(settings: RedisSettings): RedisTarget {
  const { redisUrl, redisSentinels, redisCluster } = settings;
  if (redisSentinels !== undefined && redisCluster !== undefined) {
    throw new ConfigError("REDIS_SENTINELS and REDIS_CLUSTER are both set; set at most one of them");
  }
  const url = new URL(redisUrl);
  const access = readAccess(url, settings);
  if (redisCluster !== undefined) {
    if (readDatabase(url) !== 0)
      throw new ConfigError("REDIS_URL names a database; a Redis Cluster has only 0");
    const seeds = readAddresses("REDIS_CLUSTER", redisCluster, DEFAULT_PORT);
    return { kind: "cluster", address: `cluster ${redisCluster}`, seeds, access };
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
      database,
      access,
    };
  }
  const server = { host: unbracketed(url.hostname), port: Number(url.port || DEFAULT_PORT) };
  return { kind: "standalone", address: `${url.protocol}//${url.host}`, server, database, access };
}

function decoded(part: string): string | undefined {
  return part === "" ? undefined : decodeURIComponent(part);
}

function readAccess(url: URL, settings: RedisSettings): RedisAccess {
  const { redisSentinels, redisSentinelPassword, redisSentinelPasswordFile } = settings;
  const { redisPasswordFile, redisCaFile, redisCertFile, redisKeyFile } = settings;
  const isEncrypted = url.protocol === "rediss:";
  for (const [name, value] of [
    ["REDIS_CA_FILE", redisCaFile],
    ["REDIS_CERT_FILE", redisCertFile],
    ["REDIS_KEY_FILE", redisKeyFile],
  ]) {
    if (value !== undefined && !isEncrypted) {
      throw new ConfigError(`${name} is set, but REDIS_URL is not rediss://`);
    }
  }
  if ((redisCertFile === undefined) !== (redisKeyFile === undefined)) {
    throw new ConfigError("REDIS_CERT_FILE and REDIS_KEY_FILE are needed together");
  }
  for (const [name, value] of [
    ["REDIS_SENTINEL_PASSWORD", redisSentinelPassword],
    ["REDIS_SENTINEL_PASSWORD_FILE", redisSentinelPasswordFile],
  ]) {
    if (value !== undefined && redisSentinels === undefined) {
      throw new ConfigError(`${name} is set, but REDIS_SENTINELS is not`);
    }
  }
  if (redisSentinelPassword !== undefined && redisSentinelPasswordFile !== undefined) {
    throw new ConfigError(
      "REDIS_SENTINEL_PASSWORD and REDIS_SENTINEL_PASSWORD_FILE are both set; give one of them",
    );
  }
  const password = decoded(url.password);
  if (redisPasswordFile !== undefined && password !== undefined) {
    throw new ConfigError("REDIS_PASSWORD_FILE is set, and REDIS_URL has a password too; give one of them");
  }
  return new RedisAccess({
    username: decoded(url.username),
    password,
    passwordFile: redisPasswordFile,
    sentinelPassword: redisSentinelPassword,
    sentinelPasswordFile: redisSentinelPasswordFile,
    isEncrypted,
    caFile: redisCaFile,
    certFile: redisCertFile,
    keyFile: redisKeyFile,
  });
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
