// connect -> here: a Redis Cluster, with a link to each of its nodes.
// Guarantees: as for a single server: nothing waits in a queue for a link, nothing is sent again after a link broke;
// the map of slots is read anew while a node is gone, and every few seconds.
import { Cluster, type Redis as SingleRedis, type RedisOptions } from "ioredis";
import { backoffMs } from "../../kernel/backoff.js";
import { describeError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { Outage } from "../../kernel/logging/outage.js";
import { followAccess } from "./redis-access.js";
import type { RedisTarget } from "./redis-target.js";

const SLOTS_REFRESH_MS = 5_000;
/** Together with the delay: how long a command waits where a slot is under way, or has no master. */
const MAX_REDIRECTIONS = 8;
const RETRY_DELAY_MS = 100;
const NODE_RETRY = { baseMs: 50, capMs: 500 } as const;
const NODE_RETRY_LEAST_MS = 20;

/** What is said of a link that is lost, and of one that is back. */
export const CONNECTION_OUTAGE = {
  failing: "redis: connection failed",
  over: "redis: connection is back",
} as const;

/** Not connected yet. */
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
    // Only what a node has refused is sent again. A link that broke may have carried the command: the caller decides.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: RETRY_DELAY_MS,
    retryDelayOnTryAgain: RETRY_DELAY_MS,
    slotsRefreshInterval: SLOTS_REFRESH_MS,
    slotsRefreshTimeout: 1_000,
    clusterRetryStrategy: (attempt) => 50 + backoffMs(attempt, { baseMs: 100, capMs: 1_000 }),
    // By the map of slots, see below: not by asking a node whether it is there.
    enableReadyCheck: false,
    // A certificate names hosts: so they are not turned into addresses.
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
    // Those links, too, that are made after this one: for subscriptions, and to read the map.
    followAccess(node.options, access, logger);
    const address = addressOf(node);
    node.on("ready", () => find(address));
    // Soon, a replica's too: commands do not wait for a link, and the replica may be the next master. Not in this
    // turn, in which the first command for it may be on its way.
    setTimeout(() => {
      if (node.status === "wait") node.connect().catch(() => undefined);
    }, waitMs(address));
  });
  // A node whose link ends leaves the pool. The map of slots says who has its slots now, and brings it back where it
  // is still the one.
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

/** host:port, as it stands in the map of slots. */
export function addressOf({ options }: SingleRedis): string {
  return `${options.host}:${options.port}`;
}
