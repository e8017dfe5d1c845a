// A Redis Cluster under the services: everything works across its masters, and continues after a planned failover of
// one, and after one is killed.
// Guarantees: a failover's losses are counted, and stay within docs/operate/redis.md: nothing answered with 202 under
// ACCEPT_DURABILITY=replicas:1, otherwise at most what its replica had not yet received.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterEach, expect, test } from "vitest";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { partitionKeys } from "@petrel/shared/redis/keys";
import type { PostRecord } from "@petrel/shared/testing/peers/message-recorder";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { startRedisCluster, type TestRedisCluster } from "@petrel/shared/testing/redis/start-redis-cluster";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import {
  handledTwice,
  openRedisLoad,
  untilReady,
  watchReadiness,
  type RedisLoad,
} from "../../support/faults/redis-load.js";
import { sized } from "../../support/sizes.js";

/** Enough that each of three masters has some. */
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
    together: true,
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

test("messages for users of all partitions: delivered in order, kept for offline users, spread over dispatchers", async () => {
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
      const response = await askService(`${cluster.collect.url}/v1/messages/${answer.id}`, {
        headers: { authorization: `Bearer ${cluster.apiKey}` },
      });
      return ((await response.json()) as { state: string }).state === "delivered";
    },
    { what: "the ack" },
  );
  for (const client of clients) client.close();

  // A partition that moves from one dispatcher to the other has no holder for a moment.
  await waitFor(
    async () => {
      const holders = await Promise.all(
        Array.from({ length: PARTITIONS }, (_, partition) => holderOf(partition)),
      );
      return holders.every(Boolean) && new Set(holders).size === 2;
    },
    { what: "both dispatchers to hold all partitions between them", deadlineMs: 30_000 },
  );
});

async function holderOf(partition: number): Promise<string | null> {
  const { owner } = partitionKeys(partition);
  return (await redis.connect(await redis.masterOf(owner))).hget(owner, "holder");
}

/** CLUSTER FAILOVER, at a replica of the first partition's master. */
async function failOverAsPlanned(under: RedisLoad) {
  const { owner } = partitionKeys(0);
  const before = await redis.masterOf(owner);
  const startMs = performance.now();
  await (await redis.connect(await redis.replicaOf(owner))).call("CLUSTER", "FAILOVER");
  await waitFor(async () => (await redis.masterOf(owner)) !== before, {
    what: "the replica to take over",
    deadlineMs: 30_000,
  });
  await under.untilAccepted(under.accepted().length + sized(100, 40));
  const endMs = performance.now();
  const ofPartition = under
    .accepted()
    .filter(({ user, startedAtMs }) => startedAtMs >= startMs && partitionOfUser(user, PARTITIONS) === 0);
  const longestMs = Math.max(...ofPartition.map((post) => post.answeredAtMs - post.startedAtMs));
  const demoted = await redis.connect(before);
  await waitFor(async () => (await demoted.info("replication")).includes("master_link_status:up"), {
    what: "the old master to be a replica in step",
    deadlineMs: 30_000,
  });
  return { endMs, longestMs };
}

test.each([
  ["memory", 0.02],
  ["replicas:1", 0],
])(
  "a planned failover, then a killed master, under load, ACCEPT_DURABILITY=%s: the first loses nothing, the other little",
  async (durability, share) => {
    // The replica that takes over needs another one to confirm writes.
    await open({ ACCEPT_DURABILITY: durability }, durability === "memory" ? 1 : 2);
    load = openRedisLoad(cluster);
    const online = users("on", 16);
    const away = users("away", 16);
    const clients = await load.connect(online);
    load.start([...online, ...away]);
    await load.untilAccepted(sized(250, 80));
    const watch = watchReadiness(cluster);

    const planned = await failOverAsPlanned(load);
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
    await load.untilAccepted(before + sized(400, 130));
    await load.stop();
    expect(await watch.stop()).toEqual([]);
    await clients.allOnline(30_000);
    await load.connect(away);
    const lost = await load.lost();
    const accepted = load.accepted().length;
    const isEarly = ({ answeredAtMs }: PostRecord): boolean => answeredAtMs < planned.endMs;
    expect(lost.filter(isEarly)).toEqual([]);
    process.stdout.write(
      `cluster failovers, ${durability}: planned, ${load.accepted().filter(isEarly).length} accepted, 0 lost, ` +
        `its users were answered within ${Math.round(planned.longestMs)} ms; killed, ${accepted} accepted, ${lost.length} lost, ` +
        `ready again after ${Math.round(outageMs)} ms\n`,
    );
    expect(lost.length).toBeLessThanOrEqual(accepted * share);
    expect(handledTwice(load.recorder)).toEqual([]);
    expect(clients.stopped()).toEqual([]);
    expect(load.recorder.posts.filter(({ outcome }) => outcome !== "accepted")).toEqual([]);
  },
  180_000,
);
