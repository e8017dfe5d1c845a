// Tests only: a Redis with an append-only file that can crash and come back.
// Guarantees: the same port and directory in each life; `stop` leaves neither a server nor files.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free-port.js";
import { startRedis, type TestRedis } from "./start-redis.js";

export interface RestartableRedis {
  /** The running one; the same URL and port in each life. */
  readonly current: () => TestRedis;
  /** SIGKILL; resolves when it is gone. */
  readonly kill: () => Promise<void>;
  /** Resolves when it has loaded its data. */
  readonly startAgain: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export async function startRestartableRedis(extraArgs: readonly string[] = []): Promise<RestartableRedis> {
  const directory = await mkdtemp(join(tmpdir(), "petrel-redis-"));
  const port = await freePort();
  const start = (): Promise<TestRedis> => startRedis({ appendOnly: true, port, directory, extraArgs });
  let redis = await start();
  return {
    current: () => redis,
    kill: async () => {
      redis.signal("SIGKILL");
      await redis.exited;
    },
    startAgain: async () => {
      redis = await start();
    },
    stop: async () => {
      await redis.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
