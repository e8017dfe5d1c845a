// Tests only: a private, real Redis: the server that `npm start` embeds, or the one that was asked for.
// Guarantees: own port and directory; both gone after `stop()`, and when the test process ends. A test process killed
// outright leaves the directory, but no server.
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dieWithParentPrefix } from "../../embedded-redis/die-with-parent.js";
import type { RedisBinary } from "../../embedded-redis/inspect-server.js";
import { startRedisServer, type RedisServer } from "../../embedded-redis/start-redis-server.js";
import { SHIFTED_CLOCK_FILE } from "../faults/shifted-clock.js";
import { launchFromWorker } from "../launcher/worker-launcher.js";
import { findTestServer } from "./find-test-server.js";
import { freePort } from "../free-port.js";

export interface StartRedisOptions {
  /** Keep an append-only file; off by default, which is faster. */
  readonly appendOnly?: boolean;
  /** More of redis.conf, as on the command line: `["--maxmemory", "8mb"]`. */
  readonly extraArgs?: readonly string[];
  /** The password for every client; `url` includes it. */
  readonly password?: string;
  /** A port to use, if it must be the same as before; a free one by default. */
  readonly port?: number;
  /** A directory to use, kept after `stop()`; a temporary one by default. */
  readonly directory?: string;
  /** A redis.conf to begin with. */
  readonly configFile?: string;
  /** Another server than the one that was asked for: a name or a path, as PETREL_TEST_REDIS_SERVER takes it. */
  readonly server?: string;
  /** More environment for its process: a clock that can be stepped. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface TestRedis extends RedisServer {
  /** Stops it and removes its temporary directory. */
  stop(): Promise<void>;
}

const attempts = 3;

/** This one sleeps until a time of the wall clock: of one that was set back it wakes at once, again and again. */
const threadsThatWouldSpin = ["--jemalloc-bg-thread", "no"];

function hasShiftedClock({ environment = {} }: StartRedisOptions): boolean {
  return environment[SHIFTED_CLOCK_FILE] !== undefined;
}

/** What a start looks for, once a process: each look runs a command. */
class Found {
  readonly #servers = new Map<string, Promise<RedisBinary>>();
  #prefix: Promise<readonly string[]> | undefined;

  server(asked: string | undefined): Promise<RedisBinary> {
    const name = asked ?? process.env["PETREL_TEST_REDIS_SERVER"] ?? "";
    const known = this.#servers.get(name);
    if (known !== undefined) return known;
    const finding = findTestServer({ ...process.env, PETREL_TEST_REDIS_SERVER: name });
    this.#servers.set(name, finding);
    return finding;
  }

  prefix(): Promise<readonly string[]> {
    return (this.#prefix ??= dieWithParentPrefix(process.env));
  }
}

const found = new Found();

/** Call `stop()` in `afterAll`; `signal("SIGKILL")` is a crash, `exited` tells when it is gone. */
export async function startRedis(options: StartRedisOptions = {}): Promise<TestRedis> {
  const binary = await found.server(options.server);
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), "petrel-redis-")));
  const isTemporary = options.directory === undefined;
  const removeWithUs = (): void => {
    if (isTemporary) rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", removeWithUs);

  for (let attempt = 1; ; attempt++) {
    try {
      const server = await startRedisServer({
        binary,
        prefix: await found.prefix(),
        launch: launchFromWorker,
        port: options.port ?? (await freePort()),
        directory,
        environment: { ...process.env, ...options.environment },
        appendOnly: options.appendOnly ?? false,
        extraArgs: [
          "--enable-debug-command",
          "local",
          ...(hasShiftedClock(options) ? threadsThatWouldSpin : []),
          ...(options.extraArgs ?? []),
        ],
        ...(options.password === undefined ? {} : { password: options.password }),
        ...(options.configFile === undefined ? {} : { configFile: options.configFile }),
      });
      return {
        ...server,
        stop: async () => {
          await server.stop();
          process.off("exit", removeWithUs);
          if (isTemporary) await rm(directory, { recursive: true, force: true });
        },
      };
    } catch (error) {
      // Another process may have taken the port in the meantime.
      if (options.port !== undefined || attempt === attempts) throw error;
    }
  }
}
