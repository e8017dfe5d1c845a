// Tests only: a Redis with an append-only file that can crash and come back, and a clock that can be stepped.
// Guarantees: the same port and directory in each life; what was answered before a crash is there after it; `stop`
// leaves neither a server nor files.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../free-port.js";
import { openShiftedClock, type ShiftedClock } from "../faults/shifted-clock.js";
import { startRedis, type TestRedis } from "./start-redis.js";

export interface RestartableRedis {
  /** The running one; the same URL and port in each life. */
  readonly current: () => TestRedis;
  /** Its wall clock, in each life; undefined if this machine cannot step it. */
  readonly clock: ShiftedClock | undefined;
  /** SIGKILL; resolves when it is gone. */
  readonly kill: () => Promise<void>;
  /** Resolves when it has loaded its data. */
  readonly startAgain: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/**
 * Under `everysec` Redis answers before it writes its file while a sync of that is under way, so a kill of the process
 * alone loses what it has answered (docs/operate/redis.md). Under `no` and `always` it writes first: a message that is
 * missing after a kill was lost by somebody else.
 */
const WRITES_FIRST = ["--appendfsync", "no"] as const;

/** @param extraArgs more of redis.conf; they win */
export async function startRestartableRedis(extraArgs: readonly string[] = []): Promise<RestartableRedis> {
  const directory = await mkdtemp(join(tmpdir(), "petrel-redis-"));
  const port = await freePort();
  const clock = await openShiftedClock(directory, process.env);
  const environment = clock?.environment ?? {};
  const start = (): Promise<TestRedis> =>
    startRedis({
      appendOnly: true,
      port,
      directory,
      extraArgs: [...WRITES_FIRST, ...extraArgs],
      environment,
    });
  let redis = await start();
  /** On a busy machine it must also kill one that is just starting. */
  let starting: Promise<void> = Promise.resolve();
  return {
    current: () => redis,
    clock,
    kill: async () => {
      await starting;
      redis.signal("SIGKILL");
      await redis.exited;
    },
    startAgain: () => {
      starting = start().then((started) => {
        redis = started;
      });
      return starting;
    },
    stop: async () => {
      await starting.catch(() => undefined);
      await redis.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
