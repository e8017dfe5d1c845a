// start-collect, start-dispatch -> here: how full Redis is, read at the scrape.
// Guarantees: one query per server and scrape. A server that does not answer has no series; the other metrics are still
// there. Counts what Redis itself counts against its limit.
import { Gauge, type Registry } from "../../kernel/metrics/metrics.js";
import { allMasters, isCluster } from "./cluster-nodes.js";
import type { Redis, SingleRedis } from "./connect.js";
import { addressOf } from "./open-cluster.js";

export interface RedisMemory {
  readonly usedBytes: number;
  /** `maxmemory`; 0 if there is no limit. */
  readonly maxBytes: number;
}

/** For a single server, or one behind Sentinel: a failover does not start a new series. */
const THE_ONLY_ONE = "primary";

/** @param info the answer to `INFO memory` */
export function parseRedisMemory(info: string): RedisMemory {
  const read = (field: string): number => Number(new RegExp(`^${field}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
  // Redis does not count these buffers, for replicas and the append-only file, against its limit.
  const usedBytes = Math.max(0, read("used_memory") - read("mem_not_counted_for_evict"));
  return { usedBytes, maxBytes: read("maxmemory") };
}

export function addRedisMemoryGauges(registry: Registry, redis: Redis): void {
  let underWay: Promise<ReadonlyMap<string, RedisMemory>> | undefined;
  const readOnce = (): Promise<ReadonlyMap<string, RedisMemory>> => {
    underWay ??= readAll(redis).finally(() => {
      underWay = undefined;
    });
    return underWay;
  };
  const gauges: readonly (readonly [string, string, (memory: RedisMemory) => number])[] = [
    [
      "petrel_redis_memory_used_bytes",
      "Memory that a Redis server counts against its limit",
      ({ usedBytes }) => usedBytes,
    ],
    [
      "petrel_redis_memory_max_bytes",
      "maxmemory: the limit at which a Redis server refuses to add data; 0 if it has none",
      ({ maxBytes }) => maxBytes,
    ],
  ];
  for (const [name, help, valueOf] of gauges) {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        labelNames: ["server"],
        registers: [],
        async collect() {
          const servers = await readOnce();
          this.reset();
          for (const [server, memory] of servers) this.set({ server }, valueOf(memory));
        },
      }),
    );
  }
}

async function readAll(redis: Redis): Promise<ReadonlyMap<string, RedisMemory>> {
  const results = await Promise.allSettled(mastersOf(redis).map((master) => readOne(redis, master)));
  return new Map(results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])));
}

/** Empty if the cluster's nodes are unknown at the moment. */
function mastersOf(redis: Redis): readonly SingleRedis[] {
  try {
    return allMasters(redis);
  } catch {
    return [];
  }
}

async function readOne(redis: Redis, master: SingleRedis): Promise<readonly [string, RedisMemory]> {
  const memory = parseRedisMemory(await master.info("memory"));
  return [isCluster(redis) ? addressOf(master) : THE_ONLY_ONE, memory];
}
