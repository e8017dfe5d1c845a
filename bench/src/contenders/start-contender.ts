// Bench: the contender as processes: one ingest, two nodes, its own Redis.
// Guarantees: resolves when all are ready; `stop` leaves no process behind.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { freePort } from "@petrel/shared/testing/free-port";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";

export interface Contender {
  readonly ingestPort: number;
  readonly nodePorts: readonly number[];
  readonly pids: ReadonlyMap<string, number>;
  readonly stop: () => Promise<void>;
}

export async function startContender(nodeCount: number): Promise<Contender> {
  const redis = await startRedis();
  const pids = new Map([["redis", redis.pid]]);
  const stops: (() => void)[] = [];
  const launch = async (
    script: string,
    name: string,
    environment: Record<string, string>,
  ): Promise<number> => {
    const port = await freePort();
    const child = spawn(process.execPath, [fileURLToPath(new URL(`${script}.js`, import.meta.url))], {
      env: { PATH: process.env["PATH"], REDIS_URL: redis.url, PORT: String(port), ...environment },
      stdio: ["ignore", "pipe", "inherit"],
    });
    stops.push(() => void child.kill());
    pids.set(name, child.pid ?? 0);
    await new Promise<void>((resolve, reject) => {
      child.stdout.once("data", () => resolve());
      child.once("exit", () => reject(new Error(`${name} ended`)));
    });
    return port;
  };
  const nodePorts: number[] = [];
  for (let i = 0; i < nodeCount; i++) {
    nodePorts.push(await launch("contender-node", `node-${i + 1}`, { NODE_INDEX: String(i) }));
  }
  const ingestPort = await launch("contender-ingest", "ingest", { NODES: String(nodeCount) });
  return {
    ingestPort,
    nodePorts,
    pids,
    stop: async () => {
      for (const stop of stops) stop();
      await redis.stop();
    },
  };
}
