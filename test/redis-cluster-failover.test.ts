// A Redis Cluster under the services: everything works across its masters, and goes on when one of them is killed.
// Guarantees: what a failover takes is counted, and stays within docs/redis.md: nothing that was answered with 202
// under ACCEPT_DURABILITY=replicas:1, at most what its replica had not got yet otherwise.
import { afterEach, expect, test } from "vitest";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { startCluster, type TestCluster } from "@petrel/shared/testing/start-cluster";
import { startRedisCluster, type TestRedisCluster } from "@petrel/shared/testing/start-redis-cluster";
import { connectClient } from "@petrel/shared/testing/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import {
  handledTwice,
  longestSilenceMs,
  openRedisLoad,
  untilReady,
  watchReadiness,
  type RedisLoad,
} from "./redis-load.js";

/** So many that each of three masters has some. */
const PARTITIONS = 8;
const users = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}-${i + 1}`);

let redis: TestRedisCluster;
let cluster: TestCluster;
let load: RedisLoad | undefined;

afterEach(async () => {
  await load?.close();
  load = undefined;
  await cluster?.stop();
  await redis?.stop();
});

async function open(environment: Record<string, string> = {}, replicas = 1): Promise<void> {
  redis = await startRedisCluster({ replicas });
  const [first] = redis.nodes;
  if (first === undefined) throw new Error("no node");
  cluster = await startCluster({
    redis: first,
    dispatchers: 2,
    environment: {
      PARTITIONS: String(PARTITIONS),
      ACK_TIMEOUT_MS: "2000",
      ...redis.environment,
      ...environment,
    },
  });
}

test("messages for users of all partitions: delivered in order, kept while nobody is there, shared out among dispatchers", async () => {
  await open();
  const names = users("u", 24);
  const post = (user: string, n: number) => cluster.post("/v1/messages", { to: { user }, data: { n } });
  const tokens = new Map(
    await Promise.all(names.map(async (user) => [user, await cluster.tokenFor(user)] as const)),
  );
  const connect = (user: string, i: number) =>
    connectClient({
      url: cluster.nodeUrls[i % 2] ?? "",
      token: tokens.get(user) ?? "",
      ack: "turn",
    });
  const numbers = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => ({ n: from + i }));

  // Offline: queued, and picked up by the next connection.
  for (let n = 0; n < 5; n++) await Promise.all(names.map((user) => post(user, n)));
  const clients = await Promise.all(names.map(connect));
  for (const client of clients) {
    expect((await client.untilMessages(5)).map(({ data }) => data)).toEqual(numbers(0, 5));
  }
  // Online.
  for (let n = 5; n < 15; n++) await Promise.all(names.map((user) => post(user, n)));
  for (const client of clients) {
    expect((await client.untilMessages(15)).map(({ data }) => data)).toEqual(numbers(0, 15));
  }
  const answer = (await cluster.post("/v1/messages", { to: { user: "u-1" }, data: 1 })) as { id: string };
  await waitFor(
    async () => {
      const response = await fetch(`${cluster.collect.url}/v1/messages/${answer.id}`, {
        headers: { authorization: `Bearer ${cluster.apiKey}` },
      });
      return ((await response.json()) as { state: string }).state === "delivered";
    },
    { what: "the ack" },
  );
  for (const client of clients) client.close();

  const holders = await Promise.all(
    Array.from({ length: PARTITIONS }, async (_, partition) => {
      const { owner } = partitionKeys(partition);
      return (await redis.connect(await redis.masterOf(owner))).hget(owner, "holder");
    }),
  );
  expect(new Set(holders).size).toBe(2);
  expect(holders.every(Boolean)).toBe(true);
}, 120_000);

test("a planned failover, CLUSTER FAILOVER under load: nothing is lost, and hardly a moment passes", async () => {
  await open();
  load = openRedisLoad(cluster);
  const online = users("on", 8);
  const away = users("away", 8);
  const clients = await load.connect(online);
  load.start([...online, ...away]);
  await load.untilAccepted(150);
  const watch = watchReadiness(cluster);

  const { owner } = partitionKeys(0);
  const before = await redis.masterOf(owner);
  const startMs = performance.now();
  await (await redis.connect(await redis.replicaOf(owner))).call("CLUSTER", "FAILOVER");
  await waitFor(async () => (await redis.masterOf(owner)) !== before, {
    what: "the replica to take over",
    deadlineMs: 30_000,
  });
  await load.untilAccepted(load.accepted().length + 200);
  await load.stop();
  await untilReady(cluster, true);
  const notReady = await watch.stop();
  await clients.allOnline(30_000);
  await load.connect(away);
  const lost = await load.lost();
  process.stdout.write(
    `planned Cluster failover, memory: ${load.accepted().length} accepted, ${lost.length} lost, ` +
      `nothing accepted for ${Math.round(longestSilenceMs(load.accepted(), startMs))} ms\n`,
  );
  expect(lost).toEqual([]);
  expect(notReady).toEqual([]);
  expect(handledTwice(load.recorder)).toEqual([]);
  expect(load.recorder.posts.filter(({ outcome }) => outcome !== "accepted")).toEqual([]);
}, 120_000);

test.each([
  ["memory", 0.02],
  ["replicas:1", 0],
])(
  "a master killed under load, ACCEPT_DURABILITY=%s: the cluster goes on, and little is lost",
  async (durability, share) => {
    // The one that takes over needs another to confirm by.
    await open({ ACCEPT_DURABILITY: durability }, durability === "memory" ? 1 : 2);
    load = openRedisLoad(cluster);
    const online = users("on", 16);
    const away = users("away", 16);
    const clients = await load.connect(online);
    load.start([...online, ...away]);
    await load.untilAccepted(250);
    const watch = watchReadiness(cluster);

    const killed = await redis.masterOf(partitionKeys(0).owner);
    const before = load.accepted().length;
    killed.signal("SIGKILL");
    const killedAtMs = performance.now();
    await killed.exited;
    await waitFor(() => redis.masterOf(partitionKeys(0).owner).then((master) => master !== killed), {
      what: "the replica to take over",
      deadlineMs: 30_000,
    });
    await redis.untilHealthy();
    await untilReady(cluster, true);
    const outageMs = performance.now() - killedAtMs;
    await load.untilAccepted(before + 400);
    await load.stop();
    expect(await watch.stop()).toEqual([]);
    await clients.allOnline(30_000);
    await load.connect(away);
    const lost = await load.lost();
    const accepted = load.accepted().length;
    process.stdout.write(
      `cluster failover, ${durability}: ${accepted} accepted, ${lost.length} lost, ready again after ${Math.round(outageMs)} ms\n`,
    );
    expect(lost.length).toBeLessThanOrEqual(accepted * share);
    expect(handledTwice(load.recorder)).toEqual([]);
    expect(clients.stopped()).toEqual([]);
    expect(load.recorder.posts.filter(({ outcome }) => outcome !== "accepted")).toEqual([]);
  },
  180_000,
);
