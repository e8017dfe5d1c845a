// A Redis Cluster under the services: revocations reach the sockets of both nodes, whichever master has the user.
// Guarantees: by an announcement, not by a lease's renewal; the tokens are refused from then on.
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { startRedisCluster, type TestRedisCluster } from "@petrel/shared/testing/redis/start-redis-cluster";
import { connectClient, openClient } from "@petrel/shared/testing/peers/ws-client";

/** Enough that each of three masters has some. */
const PARTITIONS = 8;
const USERS = 12;

let redis: TestRedisCluster;
let cluster: TestCluster;

beforeAll(async () => {
  redis = await startRedisCluster({ replicas: 0 });
  const [first] = redis.nodes;
  if (first === undefined) throw new Error("no node");
  cluster = await startCluster({
    together: true,
    redis: first,
    environment: { PARTITIONS: String(PARTITIONS), ROUTE_LEASE_MS: "1800000", ...redis.environment },
  });
});
afterAll(async () => {
  await cluster?.stop();
  await redis?.stop();
});

test("by user and by token: both nodes close the right connections, whatever the partition", async () => {
  const userIds = Array.from({ length: USERS }, (_, i) => `user-${i}`);
  const people = await Promise.all(
    userIds.map(async (userId) => {
      const token = await cluster.tokenFor(userId);
      const sockets = await Promise.all(cluster.nodeUrls.map((url) => connectClient({ url, token })));
      const payload = Buffer.from(token.split(".")[1] ?? "", "base64url").toString();
      return { userId, token, sockets, jti: (JSON.parse(payload) as { jti: string }).jti };
    }),
  );
  const [spared, ...others] = people;
  for (const [i, { userId, jti, sockets, token }] of others.entries()) {
    const response = await fetch(`${cluster.auth.url}/v1/tokens/revoke`, {
      method: "POST",
      headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
      body: JSON.stringify(i % 2 === 0 ? { userId } : { jti }),
    });
    expect(response.status).toBe(204);
    for (const socket of sockets) {
      expect(await socket.untilClosed()).toMatchObject({ code: 4403, reason: "PETREL_TOKEN_REVOKED" });
    }
    const again = openClient({ url: cluster.nodeUrls[i % 2] ?? "", token });
    expect(await again.untilClosed()).toMatchObject({ code: 4403 });
  }
  for (const socket of spared?.sockets ?? []) {
    expect(socket.closed()).toBeUndefined();
    socket.close();
  }
});
