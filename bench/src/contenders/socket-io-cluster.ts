// Bench, drop test: the Socket.IO cluster as processes: two servers on their own Redis.
// Guarantees: resolves when all are ready; `stop` leaves no process behind.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { freePort } from "@petrel/shared/testing/free-port";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";

export interface SocketIoCluster {
  readonly ports: readonly number[];
  readonly pids: ReadonlyMap<string, number>;
  readonly stop: () => Promise<void>;
}

/** The built file, whether this one runs built or not. */
const SCRIPT = fileURLToPath(new URL("../../dist/contenders/socket-io-node.js", import.meta.url));

export async function startSocketIoCluster(servers: number): Promise<SocketIoCluster> {
  const redis = await startRedis({ appendOnly: true });
  const pids = new Map([["redis", redis.pid]]);
  const ports: number[] = [];
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(stops.map((end) => end()));
    await redis.stop();
  };
  try {
    for (let i = 0; i < servers; i++) {
      const port = await freePort();
      const child = spawn(process.execPath, [SCRIPT], {
        env: { PATH: process.env["PATH"], REDIS_URL: redis.url, PORT: String(port) },
        stdio: ["ignore", "pipe", "inherit"],
      });
      const killWithUs = (): void => void child.kill("SIGKILL");
      process.once("exit", killWithUs);
      const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      stops.push(async () => {
        child.kill("SIGKILL");
        await exited;
        process.off("exit", killWithUs);
      });
      await new Promise<void>((resolve, reject) => {
        child.stdout.once("data", () => resolve());
        child.once("exit", () => reject(new Error("a Socket.IO server ended at its start")));
      });
      ports.push(port);
      pids.set(`server-${i + 1}`, child.pid ?? 0);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { ports, pids, stop };
}
