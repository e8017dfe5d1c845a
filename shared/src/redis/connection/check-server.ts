// Checks, before a service starts, that its Redis can keep Petrel's guarantees.
// Guarantees: refuses, in one clear line, a server that is too old, that evicts keys, or whose data was laid out for
// another partition count.
import { setTimeout as sleep } from "node:timers/promises";
import { describeError, PetrelError } from "../../kernel/errors.js";
import { allMasters, isCluster } from "./cluster-nodes.js";
import type { Cluster, Redis, SingleRedis } from "./connect.js";
import { clusterKeys } from "../keys.js";
import { addressOf } from "./open-cluster.js";

const MIN_REDIS = [7, 0] as const;
const MIN_VALKEY = [7, 2] as const;
const MASTERS_DEADLINE_MS = 5_000;

/**
 * On a cluster, checks every master.
 * @throws PetrelError PETREL_UNAVAILABLE saying what is wrong and what would be right
 */
export async function checkServer(redis: Redis, partitionCount: number): Promise<void> {
  if (isCluster(redis)) {
    await Promise.all((await untilAllMasters(redis)).map((master) => checkOne(master, addressOf(master))));
  } else {
    await Promise.all(allMasters(redis).map((server) => checkOne(server, undefined)));
    if (/^cluster_enabled:1/m.test(await redis.info("cluster"))) {
      throw refused("it is a node of a Redis Cluster; name its nodes in REDIS_CLUSTER");
    }
  }
  const laidOutWith = await readOrLayDown(redis, String(partitionCount));
  if (laidOutWith !== String(partitionCount)) {
    throw refused(
      `its data is divided into ${laidOutWith} partitions, this service is set to ${partitionCount}; ` +
        `set PARTITIONS=${laidOutWith}`,
    );
  }
}

/**
 * Reads first: a Redis that is out of memory refuses the write, and the starting service may be the one to free memory.
 */
async function readOrLayDown(redis: Redis, partitionCount: string): Promise<string | null> {
  const key = clusterKeys.partitionCount;
  const laidOutWith = await redis.get(key);
  if (laidOutWith !== null) return laidOutWith;
  await redis.set(key, partitionCount, "NX");
  return redis.get(key);
}

/** @param address given if there are several servers to tell apart */
async function checkOne(redis: SingleRedis, address: string | undefined): Promise<void> {
  const name = address === undefined ? "it" : `its node ${address}`;
  const { product, version } = await readServerVersion(redis);
  if (!isAtLeast(version, product === "Valkey" ? MIN_VALKEY : MIN_REDIS)) {
    throw refused(`${name} is version ${version}; Petrel needs Redis 7.0 or Valkey 7.2, or newer`);
  }
  const memory = await redis.info("memory");
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1] ?? "unknown";
  if (policy !== "noeviction") {
    const whose = address === undefined ? "its maxmemory-policy" : `the maxmemory-policy of ${name}`;
    throw refused(`${whose} is ${policy}, which drops data; set it to noeviction`);
  }
}

export interface RunningVersion {
  readonly product: "Redis" | "Valkey";
  readonly version: string;
}

export async function readServerVersion(redis: SingleRedis): Promise<RunningVersion> {
  const info = await redis.info("server");
  const valkey = /^valkey_version:(\S+)/m.exec(info)?.[1];
  if (valkey !== undefined) return { product: "Valkey", version: valkey };
  return { product: "Redis", version: /^redis_version:(\S+)/m.exec(info)?.[1] ?? "0" };
}

export function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [haveMajor = 0, haveMinor = 0] = version.split(".").map(Number);
  return haveMajor > major || (haveMajor === major && haveMinor >= minor);
}

/** Just after connecting, the links to the masters may not exist yet. */
async function untilAllMasters(cluster: Cluster): Promise<readonly SingleRedis[]> {
  const end = performance.now() + MASTERS_DEADLINE_MS;
  for (;;) {
    try {
      const masters = allMasters(cluster);
      if (performance.now() >= end || masters.every(({ status }) => status === "ready")) return masters;
    } catch (error) {
      if (performance.now() >= end) throw refused(describeError(error));
    }
    await sleep(20);
  }
}

function refused(why: string): PetrelError {
  return new PetrelError("PETREL_UNAVAILABLE", `Redis cannot be used: ${why}.`);
}
