// Bench: `ws` with Redis pub/sub by hand, as processes: one ingest, two nodes, its own Redis.
// Guarantees: resolves when all are ready; `stop` leaves no process behind.
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { spawnNodeScript } from "../spawn/spawn-node-script.js";
import { startOrStop, stopAll } from "../spawn/stop-all.js";

export interface WsCluster {
  readonly redisUrl: string;
  readonly ingestPort: number;
  readonly nodePorts: readonly number[];
  readonly pids: ReadonlyMap<string, number>;
  readonly stop: () => Promise<void>;
}

export function startWsCluster(nodeCount: number): Promise<WsCluster> {
  return startOrStop(async (stops) => {
    const redis = await startRedis();
    stops.push(() => redis.stop());
    const pids = new Map([["redis", redis.pid]]);
    const launch = async (script: string, name: string, more: Record<string, string>): Promise<number> => {
      const environment = { REDIS_URL: redis.url, ...more };
      const { pid, port, stop } = await spawnNodeScript({ name, script, environment });
      stops.push(stop);
      pids.set(name, pid);
      return port;
    };
    const nodePorts: number[] = [];
    for (let i = 0; i < nodeCount; i++)
      nodePorts.push(await launch("ws-node", `node-${i + 1}`, { NODE_INDEX: String(i) }));
    const ingestPort = await launch("ws-ingest", "ingest", { NODES: String(nodeCount) });
    return { redisUrl: redis.url, ingestPort, nodePorts, pids, stop: () => stopAll(stops) };
  });
}
