// One master of a Redis Cluster stands still: no answer comes, and no other takes over.
// Guarantees: users on other masters do not notice: their messages are stored, delivered and acknowledged. Messages of
// the stalled master's users wait, and are answered when it goes on.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterEach, expect, test } from "vitest";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { authKeys } from "@petrel/shared/redis/auth/auth-keys";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { startRedisCluster, type TestRedisCluster } from "@petrel/shared/testing/redis/start-redis-cluster";
import type { TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { sized } from "../../support/sizes.js";

const PARTITIONS = 8;
const USERS = 12;
const ROUNDS = sized(10, 4);

let redis: TestRedisCluster;
let cluster: TestCluster;

afterEach(async () => {
  for (const node of redis?.nodes ?? []) node.signal("SIGCONT");
  await cluster?.stop();
  await redis?.stop();
});

/** Not the one with the producer's key: without the key nobody can be authenticated. */
async function chooseMaster(): Promise<TestRedis> {
  const [keyId = ""] = cluster.apiKey.split(".");
  const ofKey = await redis.masterOf(authKeys.producerKey(keyId));
  const found = redis.nodes.find((node) => node !== ofKey);
  if (found === undefined) throw new Error("no other master");
  return found;
}

const post = async (user: string, n: number): Promise<string> =>
  ((await cluster.post("/v1/messages", { to: { user }, data: n })) as { id: string }).id;

async function stateOf(id: string): Promise<unknown> {
  const response = await askService(`${cluster.collect.url}/v1/messages/${id}`, {
    headers: { authorization: `Bearer ${cluster.apiKey}` },
  });
  return ((await response.json()) as { state: unknown }).state;
}

test("users of the other masters are served as before: messages and acknowledgements", async () => {
  redis = await startRedisCluster({
    replicas: 0,
    nodeTimeoutMs: 120_000,
    extraArgs: ["--cluster-require-full-coverage", "no"],
  });
  const [first] = redis.nodes;
  if (first === undefined) throw new Error("no node");
  cluster = await startCluster({
    together: true,
    redis: first,
    nodes: 1,
    // So long that requests waiting for the stalled master outlast all of this, even on the slowest machine.
    environment: { PARTITIONS: String(PARTITIONS), ACCEPT_DEADLINE_MS: "60000", ...redis.environment },
  });
  const stalled = await chooseMaster();
  const clients = new Map<string, WsClient>();
  const held: string[] = [];
  const served: string[] = [];
  for (let i = 0; i < USERS; i++) {
    const user = `u-${i}`;
    const master = await redis.masterOf(partitionKeys(partitionOfUser(user, PARTITIONS)).owner);
    (master === stalled ? held : served).push(user);
    const token = await cluster.tokenFor(user);
    clients.set(user, await connectClient({ url: cluster.nodeUrls[0] ?? "", token }));
    await post(user, 0);
    await clients.get(user)?.untilMessages(1);
  }
  expect(Math.min(held.length, served.length)).toBeGreaterThan(0);

  stalled.signal("SIGSTOP");
  for (const user of held) clients.get(user)?.ack(1);
  let answers = 0;
  const waiting = Promise.allSettled(held.map((user) => post(user, 1).finally(() => answers++)));
  // Alternates with the waiting ones: a call for both would wait, too.
  for (let round = 1; round <= ROUNDS; round++) {
    const ids = await Promise.all(served.map((user) => post(user, round)));
    for (const user of served) {
      await clients.get(user)?.untilMessages(round + 1);
      clients.get(user)?.ack(round + 1);
    }
    for (const id of ids) {
      await waitFor(async () => (await stateOf(id)) === "delivered", {
        what: `round ${round} to be acknowledged`,
      });
    }
    expect(answers, `answers of the stalled master by round ${round}`).toBe(0);
  }
  stalled.signal("SIGCONT");
  expect((await waiting).map(({ status }) => status)).toEqual(held.map(() => "fulfilled"));
  for (const user of held) await clients.get(user)?.untilMessages(2, 30_000);
  for (const client of clients.values()) client.close();
}, 180_000);
