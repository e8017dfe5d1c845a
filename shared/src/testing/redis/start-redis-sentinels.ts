// Tests only: a real Redis with replicas, watched by real sentinels, from the binary that `npm start` embeds.
// Guarantees: resolves when every sentinel knows the master, the replicas and the other sentinels, and every replica is
// in sync; `stop` leaves no process and no file behind.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "../../kernel/logging/logging.js";
import { connectRedis, type Redis } from "../../redis/connection/connect.js";
import { freePort } from "../free-port.js";
import { startRedis, type TestRedis } from "./start-redis.js";
import { waitFor } from "../wait-for.js";

export interface StartRedisSentinelsOptions {
  readonly replicas?: number;
  readonly sentinels?: number;
  /** How long the master is silent before a sentinel considers it down, ms. */
  readonly downAfterMs?: number;
  readonly appendOnly?: boolean;
}

export interface TestRedisSentinels {
  /** The first starts as the master. */
  readonly servers: readonly TestRedis[];
  readonly sentinels: readonly TestRedis[];
  /** What services need to find it. */
  readonly environment: { readonly REDIS_SENTINELS: string; readonly REDIS_URL: string };
  /** As the running sentinels say. */
  master(): Promise<TestRedis>;
  /** A plain connection to one server; `stop` closes it. */
  connect(server: TestRedis): Promise<Redis>;
  stop(): Promise<void>;
}

const NAME = "main";
const logger = createLogger({ service: "test", level: "silent" });

export async function startRedisSentinels(
  options: StartRedisSentinelsOptions = {},
): Promise<TestRedisSentinels> {
  const { replicas = 1, sentinels: sentinelCount = 3, downAfterMs = 1_000, appendOnly = false } = options;
  process.setMaxListeners(Math.max(process.getMaxListeners(), 100));
  const directory = await mkdtemp(join(tmpdir(), "petrel-sentinels-"));
  const servers: TestRedis[] = [];
  const sentinels: TestRedis[] = [];
  const connections: Redis[] = [];
  const connect = async (server: TestRedis): Promise<Redis> => {
    const redis = await connectRedis({ url: server.url, role: "test", logger, commandTimeoutMs: 2_000 });
    connections.push(redis);
    return redis;
  };
  const stop = async (): Promise<void> => {
    for (const connection of connections) connection.disconnect();
    for (const server of [...sentinels, ...servers]) server.signal("SIGCONT");
    // Sentinels first, so that none promotes a replica any more.
    await Promise.all(sentinels.map((sentinel) => sentinel.stop()));
    await Promise.all(servers.map((server) => server.stop()));
    await rm(directory, { recursive: true, force: true });
  };

  try {
    const first = await startRedis({ appendOnly });
    servers.push(first);
    for (let i = 0; i < replicas; i++) {
      const extraArgs = ["--replicaof", "127.0.0.1", String(first.port), "--repl-diskless-sync-delay", "0"];
      servers.push(await startRedis({ appendOnly, extraArgs }));
    }
    for (let i = 0; i < sentinelCount; i++) {
      sentinels.push(await startSentinel(join(directory, `sentinel-${i}`), first.port, downAfterMs));
    }
    const links = await Promise.all(sentinels.map(connect));
    const ask = async (link: Redis): Promise<ReadonlyMap<string, string>> => {
      const flat = (await link.call("SENTINEL", "MASTER", NAME)) as string[];
      return new Map(flat.flatMap((word, i) => (i % 2 === 0 ? [[word, flat[i + 1] ?? ""] as const] : [])));
    };
    await waitFor(
      async () => {
        const views = await Promise.all(links.map(ask));
        return views.every(
          (view) =>
            view.get("num-slaves") === String(replicas) &&
            view.get("num-other-sentinels") === String(sentinelCount - 1) &&
            view.get("flags") === "master",
        );
      },
      { what: "the sentinels to know everyone", deadlineMs: 30_000, everyMs: 50 },
    );
    const replicaLinks = await Promise.all(servers.slice(1).map(connect));
    const masterLink = await connect(first);
    await waitFor(
      async () => {
        const told = await Promise.all(replicaLinks.map((link) => link.info("replication")));
        if (!told.every((text) => text.includes("master_link_status:up"))) return false;
        // A sentinel writes what it learns into its configuration, so each has its own file.
        const online = (await masterLink.info("replication")).match(/^slave\d+:.*\bstate=online/gm);
        return (online?.length ?? 0) === replicas;
      },
      { what: "the replicas to be in step", deadlineMs: 30_000, everyMs: 100 },
    );
    const at = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",");
    return {
      servers,
      sentinels,
      environment: { REDIS_SENTINELS: `${NAME}@${at}`, REDIS_URL: "redis://ignored" },
      master: async () => {
        const [asked] = links;
        const port = asked === undefined ? undefined : (await ask(asked)).get("port");
        const found = servers.find((server) => String(server.port) === port);
        if (found === undefined) throw new Error("no master");
        return found;
      },
      connect,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A sentinel writes what it learns into its configuration: so each has a file of its own. */
async function startSentinel(file: string, masterPort: number, downAfterMs: number): Promise<TestRedis> {
  const configFile = `${file}.conf`;
  await writeFile(
    configFile,
    [
      `sentinel monitor ${NAME} 127.0.0.1 ${masterPort} 2`,
      `sentinel down-after-milliseconds ${NAME} ${downAfterMs}`,
      `sentinel failover-timeout ${NAME} 5000`,
      "",
    ].join("\n"),
  );
  return startRedis({ configFile, port: await freePort(), extraArgs: ["--sentinel"] });
}
