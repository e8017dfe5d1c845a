// Tests only: a real Redis Cluster: masters with replicas, from the binary that `npm start` embeds.
// Guarantees: resolves when every slot has a master and every replica is in sync; `stop` leaves no process behind.
import { setTimeout as sleep } from "node:timers/promises";
import { createLogger } from "../../kernel/logging/logging.js";
import { connectRedis, type Redis } from "../../redis/connection/connect.js";
import { freePortRange } from "../free-port.js";
import { startRedis, type TestRedis } from "./start-redis.js";
import { waitFor } from "../wait-for.js";

export interface StartRedisClusterOptions {
  readonly masters?: number;
  /** Replicas per master. */
  readonly replicas?: number;
  /** How long a node is silent before it counts as failed, ms. */
  readonly nodeTimeoutMs?: number;
  readonly appendOnly?: boolean;
  readonly extraArgs?: readonly string[];
  /** More of them, by the node's number. */
  readonly extraArgsOf?: (index: number) => readonly string[];
}

export interface TestRedisCluster {
  /** Masters first. */
  readonly nodes: readonly TestRedis[];
  /** What services need to find it. */
  readonly environment: { readonly REDIS_CLUSTER: string; readonly REDIS_URL: string };
  /** As the running nodes see it now. */
  masterOf(key: string): Promise<TestRedis>;
  /** A replica of that master; the first if it has several. */
  replicaOf(key: string): Promise<TestRedis>;
  /** Resolves when every running node sees a master for every slot. */
  untilHealthy(deadlineMs?: number): Promise<void>;
  /** A plain connection to one node, for what the test must see or do there; `stop` closes it. */
  connect(node: TestRedis): Promise<Redis>;
  stop(): Promise<void>;
}

const SLOTS = 16_384;
const ATTEMPTS = 3;
const logger = createLogger({ service: "test", level: "silent" });

export async function startRedisCluster(options: StartRedisClusterOptions = {}): Promise<TestRedisCluster> {
  const { masters: masterCount = 3, replicas: replicaCount = 1 } = options;
  // Each server ends with this process, so each adds an exit listener.
  process.setMaxListeners(Math.max(process.getMaxListeners(), 100));
  const nodes = await startNodes(masterCount * (1 + replicaCount), options);
  const ended = new Set<TestRedis>();
  for (const node of nodes) void node.exited.then(() => ended.add(node));
  const connections: Redis[] = [];
  const connect = async (node: TestRedis): Promise<Redis> => {
    const redis = await connectRedis({ url: node.url, role: "test", logger, commandTimeoutMs: 2_000 });
    connections.push(redis);
    return redis;
  };
  const links = new Map<TestRedis, Promise<Redis>>();
  const ask = async (node: TestRedis, ...words: [string, ...string[]]): Promise<unknown> => {
    const link = links.get(node) ?? connect(node);
    links.set(node, link);
    return (await link).call(...words);
  };
  const running = (): TestRedis[] => nodes.filter((node) => !ended.has(node));
  const stop = async (): Promise<void> => {
    for (const connection of connections) connection.disconnect();
    for (const node of nodes) node.signal("SIGCONT");
    await Promise.all(nodes.map((node) => node.stop()));
  };
  const isHealthy = async (node: TestRedis): Promise<boolean> => {
    const info = String(await ask(node, "CLUSTER", "INFO"));
    return info.includes("cluster_state:ok") && info.includes(`cluster_slots_ok:${SLOTS}`);
  };
  const untilHealthy = async (deadlineMs = 30_000): Promise<void> => {
    await waitFor(async () => (await Promise.all(running().map(isHealthy))).every(Boolean), {
      what: "the Redis Cluster to be healthy",
      deadlineMs,
    });
  };
  /** The master first, then its replicas. */
  const placesOf = async (key: string): Promise<readonly (TestRedis | undefined)[]> => {
    const [asked] = running();
    if (asked === undefined) throw new Error("no node runs");
    const slot = Number(await ask(asked, "CLUSTER", "KEYSLOT", key));
    const ranges = (await ask(asked, "CLUSTER", "SLOTS")) as [number, number, ...[string, number][]][];
    const [, , ...places] = ranges.find(([first, last]) => first <= slot && slot <= last) ?? [];
    return places.map(([, port]) => nodes.find((node) => node.port === port));
  };
  const masterOf = async (key: string): Promise<TestRedis> => {
    const [master] = await placesOf(key);
    if (master === undefined) throw new Error(`the slot of ${key} has no master`);
    return master;
  };
  const replicaOf = async (key: string): Promise<TestRedis> => {
    const [, replica] = await placesOf(key);
    if (replica === undefined) throw new Error(`the master of ${key} has no replica`);
    return replica;
  };

  try {
    const masters = nodes.slice(0, masterCount);
    await Promise.all(nodes.map((node, i) => ask(node, "CLUSTER", "SET-CONFIG-EPOCH", String(i + 1))));
    await Promise.all(
      masters.map((node, i) => {
        const first = Math.floor((SLOTS * i) / masterCount);
        const last = Math.floor((SLOTS * (i + 1)) / masterCount) - 1;
        return ask(node, "CLUSTER", "ADDSLOTSRANGE", String(first), String(last));
      }),
    );
    const [first] = nodes;
    if (first === undefined) throw new Error("a cluster needs nodes");
    for (const { port } of nodes.slice(1)) {
      await ask(first, "CLUSTER", "MEET", "127.0.0.1", String(port), String(port + 1));
    }
    const ids = await Promise.all(nodes.map(async (node) => String(await ask(node, "CLUSTER", "MYID"))));
    await waitFor(
      async () => {
        const known = await Promise.all(
          nodes.map(async (node) => String(await ask(node, "CLUSTER", "NODES"))),
        );
        return known.every((text) => ids.every((id) => text.includes(id)) && !text.includes("handshake"));
      },
      { what: "the nodes to know one another", deadlineMs: 30_000, everyMs: 50 },
    );
    const replicas = nodes.slice(masterCount);
    await Promise.all(
      replicas.map((node, i) => ask(node, "CLUSTER", "REPLICATE", ids[i % masterCount] ?? "")),
    );
    await untilHealthy();
    await waitFor(
      async () => {
        const maps = await Promise.all(masters.map((node) => ask(node, "CLUSTER", "SLOTS")));
        // Its two ends, its master, and the replicas that are in sync.
        return (maps as unknown[][][]).every((map) =>
          map.every((range) => range.length === 3 + replicaCount),
        );
      },
      { what: "the replicas to be in step", deadlineMs: 30_000, everyMs: 50 },
    );
    const REDIS_CLUSTER = masters.map(({ port }) => `127.0.0.1:${port}`).join(",");
    return {
      nodes,
      environment: { REDIS_CLUSTER, REDIS_URL: "redis://ignored" },
      masterOf,
      replicaOf,
      untilHealthy,
      connect,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startNodes(count: number, options: StartRedisClusterOptions): Promise<TestRedis[]> {
  const { nodeTimeoutMs = 1_500, appendOnly = false, extraArgs = [], extraArgsOf = () => [] } = options;
  for (let attempt = 1; ; attempt++) {
    // Two neighbouring ports each: the second is the cluster bus.
    const firstPort = await freePortRange(2 * count);
    const started = await Promise.allSettled(
      Array.from({ length: count }, (_, i) => {
        const port = firstPort + 2 * i;
        const settings = {
          "cluster-enabled": "yes",
          "cluster-port": String(port + 1),
          "cluster-node-timeout": String(nodeTimeoutMs),
          "cluster-allow-replica-migration": "no",
          "repl-diskless-sync-delay": "0",
        };
        const clusterArgs = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
        return startRedis({ port, appendOnly, extraArgs: [...clusterArgs, ...extraArgs, ...extraArgsOf(i)] });
      }),
    );
    const nodes = started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const failed = started.find((result) => result.status === "rejected");
    if (failed === undefined) return nodes;
    await Promise.all(nodes.map((node) => node.stop()));
    // Another process may have taken a port in the meantime.
    if (attempt === ATTEMPTS) throw failed.reason;
    await sleep(100);
  }
}
