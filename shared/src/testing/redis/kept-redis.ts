// open-store, start-cluster -> here -> start-redis: a Redis that the worker keeps for its next file.
// Guarantees: whoever borrows one finds it like new: no key, no script, no statistics, its original settings, and a
// port that no earlier client knows. A server that cannot be reset like this is stopped.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { probeRedis, RespError, type Reply } from "../../embedded-redis/resp-probe.js";
import { freePort } from "../free-port.js";
import { startRedis, type TestRedis } from "./start-redis.js";

/** Names the environment variable with the folder that the run removes when it ends: prepare-redis. */
export const KEPT_DIRECTORY = "PETREL_TEST_KEPT_REDIS";

/** What a borrower may have changed, and no reset restores. */
interface Settings {
  readonly config: ReadonlyMap<Reply, Reply>;
  readonly users: Reply;
}

interface Kept {
  readonly server: TestRedis;
  readonly url: string;
  readonly port: number;
  readonly atStart: Settings;
}

class KeptServers {
  readonly #idle: Kept[] = [];

  async borrow(): Promise<TestRedis> {
    const kept = this.#idle.pop() ?? (await this.#start());
    const { server, url, port } = kept;
    let givenBack: Promise<void> | undefined;
    // Given back twice, it would have two borrowers.
    return { ...server, url, port, stop: () => (givenBack ??= this.#giveBack(kept)) };
  }

  async #start(): Promise<Kept> {
    const server = await startRedis({ directory: join(keptDirectory() ?? "", randomUUID()) });
    const { url, port } = server;
    return { server, url, port, atStart: await readSettings(url) };
  }

  async #giveBack(used: Kept): Promise<void> {
    used.server.signal("SIGCONT");
    const asNew = await makeNew(used).catch(() => undefined);
    if (asNew === undefined) await used.server.stop();
    else this.#idle.push(asNew);
  }
}

/** One for each process that runs tests. */
const kept = new KeptServers();

/**
 * For a test without options; its `stop()` returns it. Outside of vitest, where nothing ends kept servers, `stop()`
 * stops it.
 */
export function borrowRedis(): Promise<TestRedis> {
  return keptDirectory() === undefined ? startRedis() : kept.borrow();
}

function keptDirectory(): string | undefined {
  return process.env[KEPT_DIRECTORY];
}

/** @returns undefined if it differs from one that has just started */
async function makeNew({ server, url, atStart }: Kept): Promise<Kept | undefined> {
  const port = await freePort();
  const [replication, ...done] = await probeRedis(url, [
    ["INFO", "replication"],
    // A client that was left open would reconnect; on the new port it finds nobody.
    ["CONFIG", "SET", "port", String(port)],
    ...["normal", "pubsub"].map((type) => ["CLIENT", "KILL", "TYPE", type]),
    ["DEBUG", "SET-ACTIVE-EXPIRE", "1"],
    ["FLUSHALL"],
    ["SCRIPT", "FLUSH"],
    ["FUNCTION", "FLUSH"],
    ["SLOWLOG", "RESET"],
    ["LATENCY", "RESET"],
    ["CONFIG", "RESETSTAT"],
  ]);
  if (done.some((reply) => reply instanceof RespError)) return undefined;
  const isAlone =
    typeof replication === "string" &&
    ["role:master", "connected_slaves:0", "repl_backlog_active:0"].every((line) =>
      replication.includes(line),
    );
  const next = `redis://127.0.0.1:${port}`;
  return isAlone && isDeepStrictEqual(await readSettings(next), atStart)
    ? { server, url: next, port, atStart }
    : undefined;
}

async function readSettings(url: string): Promise<Settings> {
  const [config, users] = await probeRedis(url, [
    ["CONFIG", "GET", "*"],
    ["ACL", "LIST"],
  ]);
  const words = Array.isArray(config) ? (config as readonly Reply[]) : [];
  const pairs = words.flatMap((name, i): [Reply, Reply][] =>
    i % 2 === 0 ? [[name, words[i + 1] ?? null]] : [],
  );
  return { config: new Map(pairs.filter(([name]) => name !== "port")), users: users ?? null };
}
