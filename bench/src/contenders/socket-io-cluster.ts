// Bench: the Socket.IO cluster as processes: two servers on their own Redis.
// Guarantees: resolves when all are ready; `stop` leaves no process behind.
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { spawnNodeScript } from "../spawn/spawn-node-script.js";
import { startOrStop, stopAll } from "../spawn/stop-all.js";

/** What its servers share messages by; only "streams" keeps them for a while. */
export type SocketIoAdapter = "streams" | "pub-sub";

export interface SocketIoCluster {
  readonly redisUrl: string;
  readonly ports: readonly number[];
  readonly pids: ReadonlyMap<string, number>;
  readonly stop: () => Promise<void>;
}

export function startSocketIoCluster(servers: number, adapter: SocketIoAdapter): Promise<SocketIoCluster> {
  return startOrStop(async (stops) => {
    const redis = await startRedis({ appendOnly: adapter === "streams" });
    stops.push(() => redis.stop());
    const pids = new Map([["redis", redis.pid]]);
    const ports: number[] = [];
    for (let i = 1; i <= servers; i++) {
      const { pid, port, stop } = await spawnNodeScript({
        name: `server-${i}`,
        script: "socket-io-node",
        environment: { REDIS_URL: redis.url, ADAPTER: adapter },
      });
      stops.push(stop);
      ports.push(port);
      pids.set(`server-${i}`, pid);
    }
    return { redisUrl: redis.url, ports, pids, stop: () => stopAll(stops) };
  });
}
