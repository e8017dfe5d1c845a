// Which node of a Redis Cluster has a key; on a single server, always that one.
// Guarantees: a command for a node goes there or fails: no redirection, no retry, no other connection.
import { type Cluster, Command, type Redis as SingleRedis } from "ioredis";
import type { Redis } from "./connect.js";
import { addressOf } from "./open-cluster.js";

const SLOTS = 16_384;

export function isCluster(redis: Redis): redis is Cluster {
  return redis.isCluster;
}

/** Anything that is not a cluster is a single server. */
function asSingle(redis: Redis): SingleRedis {
  return redis as SingleRedis;
}

/** One of a cluster's 16,384 slots. */
export function slotOf(key: string): number {
  const slot = new Command("get", [key]).getSlot();
  if (slot === null) throw new Error(`${key} has no slot`);
  return slot;
}

/** `host:port` of the master of a key's slot, if known. */
export function masterAddress(cluster: Cluster, key: string): string | undefined {
  return cluster.slots[slotOf(key)]?.[0];
}

/**
 * The connection to the master of a key's slot.
 * @throws Error, recognised by `isConnectionError`, if there is none at the moment
 */
export function masterOf(redis: Redis, key: string): SingleRedis {
  if (!isCluster(redis)) return asSingle(redis);
  const address = masterAddress(redis, key);
  const node = redis.nodes("all").find((one) => addressOf(one) === address);
  if (node === undefined) throw new Error(`no connection to the master of ${key}`);
  return node;
}

/**
 * The connections to all masters that have slots.
 * @throws Error if one of them has no connection at the moment, or some slots have no master
 */
export function allMasters(redis: Redis): readonly SingleRedis[] {
  if (!isCluster(redis)) return [asSingle(redis)];
  if (redis.status !== "ready" || redis.slots.length < SLOTS)
    throw new Error("the cluster's slots are not known");
  const addresses = new Set(Array.from(redis.slots, (owners) => owners?.[0]));
  const nodes = new Map(redis.nodes("all").map((node) => [addressOf(node), node]));
  return [...addresses].map((address) => {
    const node = address === undefined ? undefined : nodes.get(address);
    if (node === undefined) throw new Error(`no connection to the master ${address ?? "of some slots"}`);
    return node;
  });
}

/** All links in any state, also to replicas. */
export function connectionsOf(redis: Redis): readonly SingleRedis[] {
  return isCluster(redis) ? redis.nodes("all") : [asSingle(redis)];
}

/** Calls the listener each time a link becomes ready from now on; on a cluster, for any node, including replicas. */
export function onServerReady(redis: Redis, listener: (server: SingleRedis) => void): void {
  const listenTo = (server: SingleRedis): void => void server.on("ready", () => listener(server));
  if (isCluster(redis)) redis.on("+node", listenTo);
  for (const server of connectionsOf(redis)) listenTo(server);
}

/** Whether a server has slots of its own; assumed if unknown. */
export function isMaster(redis: Redis, server: SingleRedis): boolean {
  try {
    return allMasters(redis).includes(server);
  } catch {
    return true;
  }
}

/** Reloads the slot map after a node said that it does not have a slot. */
export function forgetSlots(redis: Redis): void {
  if (isCluster(redis)) redis.refreshSlotsCache();
}

/** @throws unless Redis answers (on a cluster, each master); `describeError` turns the error into a line */
export async function pingRedis(redis: Redis): Promise<void> {
  await Promise.all(allMasters(redis).map((master) => master.ping()));
}
