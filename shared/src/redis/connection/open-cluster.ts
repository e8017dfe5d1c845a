// connect -> here: a Redis Cluster, with a link to each of its nodes.
// Guarantees: as for a single server, nothing waits in a queue for a link, and nothing is resent after a link broke.
// The slot map is reloaded while a node is gone, and every few seconds.
import { Cluster, type Redis as SingleRedis, type RedisOptions } from "ioredis";
import { backoffMs } from "../../kernel/backoff.js";
import { describeError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { Outage } from "../../kernel/logging/outage.js";
import { followAccess } from "./redis-access.js";
import type { RedisTarget } from "./redis-target.js";

const SLOTS_REFRESH_MS = 5_000;
/** Together with the delay, bounds how long a command waits while a slot is moving or has no master. */
const MAX_REDIRECTIONS = 8;
const RETRY_DELAY_MS = 100;
const NODE_RETRY = { baseMs: 50, capMs: 500 } as const;
const NODE_RETRY_LEAST_MS = 20;

/** The log lines for a link that is lost, and for one that is back. */
export const CONNECTION_OUTAGE = {
  failing: "redis: connection failed",
  over: "redis: connection is back",
} as const;

/** Does not connect yet. */
export function openCluster(
  { seeds, access }: Extract<RedisTarget, { readonly kind: "cluster" }>,
  link: RedisOptions,
  { role, logger }: { readonly role: string; readonly logger: Logger },
): Cluster {
  const cluster = new Cluster([...seeds], {
    lazyConnect: true,
    enableOfflineQueue: false,
    scaleReads: "master",
    maxRedirections: MAX_REDIRECTIONS,
    // Only a command that a node refused is resent. A broken link may have delivered it: the caller decides.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: RETRY_DELAY_MS,
    retryDelayOnTryAgain: RETRY_DELAY_MS,
    slotsRefreshInterval: SLOTS_REFRESH_MS,
    slotsRefreshTimeout: 1_000,
    clusterRetryStrategy: (attempt) => 50 + backoffMs(attempt, { baseMs: 100, capMs: 1_000 }),
    // The slot map tells which nodes exist, see below; the nodes themselves are not asked.
    enableReadyCheck: false,
    // A certificate names hosts, so do not resolve names to addresses.
    ...(access.isEncrypted ? { dnsLookup: (host, done) => done(null, host) } : {}),
    redisOptions: link,
  });
  const lost = new Map<string, Outage>();
  /** `host:port` -> failures in a row */
  const failures = new Map<string, number>();
  let refresh: NodeJS.Timeout | undefined;

  const lose = (node: string, error: unknown): void => {
    let outage = lost.get(node);
    if (outage === undefined) {
      outage = new Outage({ logger, ...CONNECTION_OUTAGE, fields: { role, node } });
      lost.set(node, outage);
    }
    outage.fail(describeError(error));
  };
  const find = (node: string): void => {
    failures.delete(node);
    lost.get(node)?.end();
    lost.delete(node);
  };
  const waitMs = (node: string): number => {
    const count = failures.get(node) ?? 0;
    return count === 0 ? 0 : NODE_RETRY_LEAST_MS + backoffMs(count, NODE_RETRY);
  };
  cluster.on("error", (error: unknown) => lose("all", error));
  cluster.on("node error", (error: unknown, node: string) => lose(node, error));
  cluster.on("ready", () => find("all"));
  cluster.on("+node", (node: SingleRedis) => {
    // Also applies to links made later: for subscriptions, and to read the slot map.
    followAccess(node.options, access, logger);
    const address = addressOf(node);
    node.on("ready", () => find(address));
    // Connects soon, also to a replica: commands do not wait for a link, and the replica may be the next master. Not in
    // this turn, because the first command for it may be on its way.
    setTimeout(() => {
      if (node.status === "wait") node.connect().catch(() => undefined);
    }, waitMs(address));
  });
  // A node whose link ends leaves the pool. The slot map says who has its slots now, and brings the node back if it
  // still has them.
  cluster.on("-node", (node: SingleRedis) => {
    const address = addressOf(node);
    failures.set(address, (failures.get(address) ?? 0) + 1);
    refresh ??= setTimeout(() => {
      refresh = undefined;
      if (cluster.status === "ready") cluster.refreshSlotsCache();
    }, waitMs(address));
  });
  return cluster;
}

/** host:port, in the slot map's spelling. */
export function addressOf({ options }: SingleRedis): string {
  return `${options.host}:${options.port}`;
}
