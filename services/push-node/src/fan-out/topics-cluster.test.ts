// Topics on a Redis Cluster: channels at their masters, and what a node does when one of them is gone.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import { allPartitionKeys } from "@petrel/shared/redis/keys";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { readRedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { TopicPublisher } from "@petrel/shared/redis/topics/topic-publisher";
import { startRedisCluster, type TestRedisCluster } from "@petrel/shared/testing/redis/start-redis-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { join, range } from "../testing/node-bench.js";
import { startPushNode, type PushNode } from "../testing/start-push-node.js";
import { offsetsOf, subscribed, tokenFor, untilOffset } from "../testing/topic-bench.js";

const PARTITIONS = 4;
const partitions = allPartitionKeys(PARTITIONS);
const logger = createLogger({ service: "test", level: "silent" });

let cluster: TestRedisCluster;
let node: PushNode;
let redis: Redis;
let publish: (topic: string) => Promise<void>;

beforeAll(async () => {
  cluster = await startRedisCluster({ masters: 3, replicas: 0 });
  const { REDIS_CLUSTER: redisCluster, REDIS_URL: redisUrl } = cluster.environment;
  redis = await connectRedis({ target: readRedisTarget({ redisUrl, redisCluster }), role: "test", logger });
  const publisher = new TopicPublisher({ scripts: new ScriptRunner(redis), partitions, maxInFlight: 1 });
  publish = async (topic) => {
    await publisher.publish({
      topic,
      partition: partitionOfTopic(topic, PARTITIONS),
      id: `m${Math.random()}`,
      ttlMs: 60_000,
      history: { size: 100, ageMs: 60_000, bytes: 100_000 },
      from: "",
      data: "1",
    });
  };
  node = await startPushNode({ redisUrl, redisCluster, partitions: PARTITIONS });
}, 60_000);
afterAll(async () => {
  await node.stop();
  await redis.quit();
  await cluster.stop();
});

test("topics of all partitions come; after a lost link to a master, missed messages come from its log", async () => {
  const names = range(1, 24).map((n) => `t${n}`);
  expect(new Set(names.map((name) => partitionOfTopic(name, PARTITIONS))).size).toBe(PARTITIONS);
  const client = await join(node, "alice", { token: tokenFor("alice", "*") });
  client.send({ type: "subscribe", topics: names.map((topic) => ({ topic })) });
  for (const name of names) await subscribed(client, name);
  await Promise.all(names.map(publish));
  for (const name of names) await untilOffset(client, name, 1);

  const channel = `${partitions[0]?.topicChannel}${names.find((name) => partitionOfTopic(name, PARTITIONS) === 0)}`;
  const master = await cluster.connect(await cluster.masterOf(channel));
  // Every listener there, and none of the others; the publishes are on their way before the links can be back.
  await master.call("CLIENT", "KILL", "TYPE", "PUBSUB");
  await Promise.all(names.map(publish));
  for (const name of names) await untilOffset(client, name, 2);
  await waitFor(() => names.every((name) => node.topics.follow.topicOf(name)?.isReady), {
    what: "all links",
  });
  await Promise.all(names.map(publish));
  for (const name of names) {
    await untilOffset(client, name, 3);
    expect(offsetsOf(client, name)).toEqual([1, 2, 3]);
  }
}, 60_000);
