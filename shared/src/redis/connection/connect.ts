// Opens connections to Redis such that a fault fails the call soon instead of stalling it.
// Guarantees: a command that cannot be sent fails at once. One without an answer fails after a deadline, and is never
// resent behind the caller's back. The connection recovers by itself, with backoff, and with the credentials that the
// files then hold.
import type { EventEmitter } from "node:events";
import { Redis as SingleRedis, type Cluster, type RedisOptions } from "ioredis";
import { backoffMs } from "../../kernel/backoff.js";
import { describeError, PetrelError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { Outage } from "../../kernel/logging/outage.js";
import { CONNECTION_OUTAGE, openCluster } from "./open-cluster.js";
import { followAccess } from "./redis-access.js";
import { readRedisTarget, type RedisTarget } from "./redis-target.js";
import { SentinelSwitches } from "./sentinel-switches.js";

/**
 * One server, alone or behind Sentinel; or a whole Redis Cluster, which routes each command by its keys. The type
 * covers what both can do; `isCluster` tells them apart.
 */
export type Redis = EventEmitter &
  Pick<SingleRedis, Exclude<keyof SingleRedis & keyof Cluster, keyof EventEmitter | OwnToEach>> & {
    readonly status: SingleRedis["status"] | Cluster["status"];
  };
type OwnToEach = "options" | "duplicate" | "status";
export type { Cluster, Redis as SingleRedis } from "ioredis";

const CONNECT_DEADLINE_MS = 15_000;

interface ConnectSettings {
  /** What this connection is for, such as "commands" or "subscriber"; appears in logs and in CLIENT LIST. */
  readonly role: string;
  readonly logger: Logger;
  /** A command without an answer fails after this time; 0 for connections with blocking reads. */
  readonly commandTimeoutMs?: number;
  /** A link that is silent for this long while an answer is due is closed and reopened. */
  readonly silenceTimeoutMs?: number;
}

/** `url` is shorthand for a single server: redis://… or rediss://… */
export type ConnectOptions = ConnectSettings & ({ readonly target: RedisTarget } | { readonly url: string });

/** @throws PetrelError PETREL_UNAVAILABLE if the first connection fails */
export async function connectRedis(options: ConnectOptions): Promise<Redis> {
  const target = "url" in options ? readRedisTarget({ redisUrl: options.url }) : options.target;
  const redis =
    target.kind === "cluster"
      ? openCluster(target, linkOptions(target, options), options)
      : openSingle(target, options);
  try {
    await within(CONNECT_DEADLINE_MS, redis.connect());
  } catch (error) {
    redis.disconnect();
    throw new PetrelError("PETREL_UNAVAILABLE", `Redis does not answer at ${target.address}`, {
      cause: error,
    });
  }
  return redis;
}

/** Needed because a cluster without a reachable node may never settle its promise. */
async function within(deadlineMs: number, connecting: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("connecting took too long")), deadlineMs);
  });
  await Promise.race([connecting, late]).finally(() => clearTimeout(timer));
}

/** The options of every link, to any kind of server. */
function linkOptions(target: RedisTarget, settings: ConnectSettings): RedisOptions {
  const { role, commandTimeoutMs = 5_000, silenceTimeoutMs = 10_000 } = settings;
  const { username } = target.access.credentials;
  return {
    lazyConnect: true,
    connectionName: `petrel-${role}`,
    protocol: 2,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    ...(commandTimeoutMs > 0 ? { commandTimeout: commandTimeoutMs } : {}),
    socketTimeout: silenceTimeoutMs,
    connectTimeout: 5_000,
    // While Redis loads its data, ioredis would wait for as long as Redis estimates, up to 10 s.
    maxLoadingRetryTime: 500,
    // `followAccess` adds the other credentials.
    ...(username === undefined ? {} : { username }),
  };
}

function openSingle(
  target: Exclude<RedisTarget, { readonly kind: "cluster" }>,
  settings: ConnectSettings,
): SingleRedis {
  const { role, logger } = settings;
  let wasReady = false;
  const switches = target.kind === "sentinel" ? new SentinelSwitches({ target, role, logger }) : undefined;
  const retryDelayMs = (attempt: number): number => 50 + backoffMs(attempt, { baseMs: 100, capMs: 1_000 });
  const redis = new SingleRedis({
    ...linkOptions(target, settings),
    db: target.database,
    // A command that cannot be sent now fails now: the caller knows whether and until when to retry.
    enableOfflineQueue: false,
    autoResubscribe: true,
    retryStrategy: retryDelayMs,
    // A demoted master keeps its connections: leave it and look for the new master.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
    ...(target.kind === "standalone"
      ? target.server
      : {
          name: target.masterName,
          sentinels: [...target.sentinels],
          ...(target.access.isEncrypted ? { enableTLSForSentinelMode: true } : {}),
          // Not ioredis's `failoverDetector`: if it learns of a failover while the connection looks for the master, it
          // ends that connection for good.
          ...(switches === undefined ? {} : { natMap: switches.resolve }),
          sentinelCommandTimeout: 2_000,
          // Without this the connection would end for good. At the start, if nothing answers, the caller gets the
          // error.
          sentinelRetryStrategy: (attempt: number) => (wasReady ? retryDelayMs(attempt) : null),
        }),
  });
  followAccess(redis.options, target.access, logger);
  switches?.watch(redis);
  // Logged again if the reason changes: once the network is fixed, a wrong password must show too.
  const outage = new Outage({ logger, ...CONNECTION_OUTAGE, fields: { role } });
  redis.on("error", (error: unknown) => outage.fail(describeError(error)));
  redis.on("ready", () => {
    outage.end();
    wasReady = true;
  });
  return redis;
}

/**
 * Whether an error means that the answer is missing (the call may or may not have run), or that Redis could not run the
 * call now. If that is safe, the same call may be sent again.
 */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    error.name !== "ReplyError" ||
    /^(LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|READONLY|TRYAGAIN|MOVED|ASK|NOSCRIPT|OOM|MISCONF|UNBLOCKED|NOREPLICAS)\b/.test(
      error.message,
    ) ||
    // The reason why a cluster's link could not be opened, given to the commands that wait for it.
    /^(NOAUTH|WRONGPASS|ERR max number of clients)\b/.test(error.message)
  );
}
