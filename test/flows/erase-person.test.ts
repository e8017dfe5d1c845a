// Over real processes: a person is erased while connected to two nodes. Everything of theirs ends at once, and Redis
// keeps only what docs/operate/erasing-a-person.md says.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient, openClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, expect, test } from "vitest";

const person = "tabitha.of.nowhere";
let cluster: TestCluster;
let redis: Redis;
beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 2 });
  redis = await connectRedis({
    url: cluster.redis.url,
    role: "test",
    logger: createLogger({ service: "test", level: "silent" }),
  });
});
afterAll(async () => {
  redis?.disconnect();
  await cluster?.stop();
});

async function ask(
  method: string,
  url: string,
  bearer: string,
  body?: unknown,
): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
  const response = await askService(url, {
    method,
    headers: {
      authorization: `Bearer ${bearer}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? {} : (JSON.parse(text) as Record<string, unknown>) };
}

/** Keys that contain the person's id in their name or value. */
async function keysThatName(userId: string): Promise<string[]> {
  const found: string[] = [];
  for (const key of await redis.keys("*")) {
    const type = await redis.type(key);
    const value =
      type === "hash"
        ? await redis.hgetall(key)
        : type === "zset"
          ? await redis.zrange(key, "0", "-1")
          : type === "list"
            ? await redis.lrange(key, 0, -1)
            : type === "set"
              ? await redis.smembers(key)
              : type === "stream"
                ? await redis.xrange(key, "-", "+")
                : await redis.get(key);
    if (key.includes(userId) || JSON.stringify(value).includes(userId)) found.push(key);
  }
  return found.sort();
}

test("their sockets close on every node, their tokens are refused, and nothing else of them is left", async () => {
  const tokens = await ask("POST", `${cluster.auth.url}/v1/tokens`, cluster.adminKey, { userId: person });
  const { accessToken, refreshToken } = tokens.body as { accessToken: string; refreshToken: string };
  const sockets = await Promise.all(
    cluster.nodeUrls.map((url) => connectClient({ url, token: accessToken, ack: "none" })),
  );
  await cluster.post("/v1/messages", {
    to: { user: person },
    data: { n: 1 },
    collapseKey: "k",
    fallback: "always",
    notification: { title: "t", body: "b" },
  });
  const kept = (await cluster.post("/v1/messages", { to: { user: "somebody" }, data: 1 })) as { id: string };
  for (const socket of sockets) await socket.untilMessages(1);
  const device = { platform: "ios", token: "ab".repeat(32), topic: "com.example", environment: "sandbox" };
  const registered = await ask("PUT", `${cluster.auth.url}/v1/devices`, accessToken, device);
  expect(registered.status, registered.status === 204 ? "" : await cluster.auth.log()).toBe(204);
  const url = `${cluster.collect.url}/v1/users/${person}`;
  expect((await ask("PUT", `${url}/topics/room.7`, cluster.adminKey)).status).toBe(204);
  expect((await keysThatName(person)).length).toBeGreaterThan(6);

  expect((await ask("DELETE", url, cluster.adminKey)).status).toBe(204);
  for (const socket of sockets) {
    expect(await socket.untilClosed()).toMatchObject({ code: 4403 });
    expect(socket.frames.find(({ type }) => type === "error")).toMatchObject({
      code: "PETREL_USER_ERASED",
      action: "stop",
    });
  }
  const [nodeUrl = ""] = cluster.nodeUrls;
  const again = openClient({ url: nodeUrl, token: accessToken });
  expect((await again.untilClosed()).code).toBe(4403);
  expect((await ask("PUT", `${cluster.auth.url}/v1/devices`, accessToken, device)).status).toBe(401);
  const refreshed = await ask("POST", `${cluster.auth.url}/v1/tokens/refresh`, "", { refreshToken });
  expect(refreshed.status).toBe(401);

  // Limits count for a minute or so, then expire.
  const keys = partitionKeys(partitionOfUser(person, 4));
  await waitFor(
    async () => (await keysThatName(person)).filter((key) => !key.startsWith("petrel:limit:")).length === 1,
    { what: "the nodes to have let go" },
  );
  const left = (await keysThatName(person)).filter((key) => !key.startsWith("petrel:limit:"));
  expect(left).toEqual([keys.tokenGeneration(person)]);
  for (const key of await redis.keys(`petrel:limit:*${person}*`)) {
    expect(await redis.pttl(key)).toBeGreaterThan(0);
  }
  expect((await ask("GET", `${cluster.collect.url}/v1/messages/${kept.id}`, cluster.apiKey)).status).toBe(
    200,
  );

  const audit = await ask("GET", `${cluster.auth.url}/v1/audit?target=${person}`, cluster.adminKey);
  const items = audit.body["items"] as readonly { action: string; details: Record<string, unknown> }[];
  expect(items.map(({ action, details }) => [action, details["phase"]])).toEqual([
    ["user.erase", "done"],
    ["user.erase", "begun"],
  ]);
  expect(JSON.stringify(items)).not.toContain(person);
});
