// Tests what every node is told: heard on a single Redis and on a Redis Cluster, whichever master has the partition.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { startRedis } from "../../testing/redis/start-redis.js";
import { startRedisCluster } from "../../testing/redis/start-redis-cluster.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis, type Redis } from "../connection/connect.js";
import { allPartitionKeys } from "../keys.js";
import { subscribeNode, type NodeSubscription } from "./node-subscription.js";
import { readRedisTarget, type RedisTarget } from "../connection/redis-target.js";
import { ScriptRunner } from "../scripts/script-runner.js";
import { TokenRevocations } from "../auth/token-revocations.js";

const logger = createLogger({ service: "test", level: "silent" });
const partitions = allPartitionKeys(8);

interface Server {
  readonly target: RedisTarget;
  readonly stop: () => Promise<void>;
}

async function startSingle(): Promise<Server> {
  const server = await startRedis();
  return { target: readRedisTarget({ redisUrl: server.url }), stop: () => server.stop() };
}

async function startSpread(): Promise<Server> {
  const cluster = await startRedisCluster({ masters: 3, replicas: 0 });
  const { REDIS_CLUSTER, REDIS_URL } = cluster.environment;
  return {
    target: readRedisTarget({ redisUrl: REDIS_URL, redisCluster: REDIS_CLUSTER }),
    stop: () => cluster.stop(),
  };
}

describe.each([
  ["a single Redis", startSingle],
  ["a Redis Cluster", startSpread],
])("on %s", (_what, start) => {
  let server: Server;
  let redis: Redis;
  let nodes: { readonly heard: string[]; readonly subscription: NodeSubscription }[] = [];

  beforeAll(async () => {
    server = await start();
    redis = await connectRedis({ target: server.target, role: "commands", logger });
    for (const nodeId of ["n1", "n2"]) {
      const heard: string[] = [];
      const subscription = await subscribeNode({
        redis: await connectRedis({ target: server.target, role: "subscriber", logger }),
        partitions,
        nodeId,
        logger,
        onText: (text) => void heard.push(text),
        onResubscribed: () => undefined,
      });
      nodes.push({ heard, subscription });
    }
  });
  afterAll(async () => {
    await Promise.all(nodes.map(({ subscription }) => subscription.stop()));
    nodes = [];
    redis.disconnect();
    await server.stop();
  });

  test("every node receives every revocation, whatever its partition", async () => {
    const revocations = new TokenRevocations({
      scripts: new ScriptRunner(redis),
      partitions,
      maxTokenLifeMs: 60_000,
    });
    const userIds = Array.from({ length: 20 }, (_, i) => `user-${i}`);
    const expected: string[] = [];
    for (const userId of userIds) {
      expected.push(`revoke-user\n${userId}\t${await revocations.revokeUser(userId)}`);
      await revocations.revokeSession(userId, "s1");
      expected.push(`revoke-session\n${userId}\ts1`);
    }
    await revocations.revokeToken("j1");
    for (const _partition of partitions) expected.push("revoke-token\nj1");
    for (const { heard, subscription } of nodes) {
      expect(subscription.isActive()).toBe(true);
      await waitFor(() => heard.length >= expected.length, { what: "all of it" });
      expect([...heard].sort()).toEqual([...expected].sort());
    }
  });
});
