// Flow: a dispatcher dies, or stops long enough to lose its lease.
// Guarantees: its partitions are taken over and every message arrives, in order, with one number; a dispatcher that
// comes back late changes nothing.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { sized } from "../support/sizes.js";

const USERS = 100;
const MESSAGES = sized(5_000, 900);
const LEASE_MS = 1_500;

let cluster: TestCluster;
let redis: Redis;
beforeAll(async () => {
  // All messages go through the dispatcher, and no nudge comes in time to help.
  cluster = await startCluster({
    together: (name) => !name.startsWith("dispatch"),
    dispatchers: 2,
    environment: {
      HAND_OVER: "dispatch",
      LEASE_MS: String(LEASE_MS),
      ACK_TIMEOUT_MS: "60000",
      // No grace lease ends while two states of all keys are compared.
      ROUTE_GRACE_MS: "0",
    },
  });
  const logger = createLogger({ service: "test", level: "silent" });
  redis = await connectRedis({ url: cluster.redis.url, role: "test", logger });
});
afterAll(async () => {
  redis.disconnect();
  await cluster.stop();
});

async function owners(): Promise<(string | null)[]> {
  return Promise.all([0, 1, 2, 3].map((p) => redis.hget(`petrel:{p${p}}:owner`, "holder")));
}

test(`one of two dispatchers killed during ${MESSAGES} messages: all arrive, in order, numbered once`, async () => {
  const shares = await waitFor(
    async () => {
      const holders = await owners();
      return holders.every(Boolean) && new Set(holders).size === 2 && holders;
    },
    { what: "two dispatchers to share the partitions" },
  );
  expect(shares).toHaveLength(4);

  const clients = await Promise.all(
    Array.from({ length: USERS }, async (_, i) =>
      connectClient({
        url: cluster.nodeUrls[i % 2] ?? "",
        token: await cluster.tokenFor(`t${i}`),
        ack: "turn",
      }),
    ),
  );
  const [victim] = cluster.dispatchers;
  for (let n = 0; n < MESSAGES; n += 50) {
    const messages = Array.from({ length: 50 }, (_, i) => ({
      to: { user: `t${(n + i) % USERS}` },
      data: n + i,
    }));
    await cluster.post("/v1/messages/batch", { messages });
    if (n === Math.floor(MESSAGES / 100) * 50) victim?.signal("SIGKILL");
  }
  expect(await victim?.exited).toBe("SIGKILL");

  const perUser = MESSAGES / USERS;
  for (const client of clients) {
    const got = await client.untilMessages(perUser, 60_000);
    expect(got.map(({ seq }) => seq)).toEqual(Array.from({ length: perUser }, (_, i) => i + 1));
    expect(new Set(got.map(({ id }) => id)).size).toBe(perUser);
  }
  const holders = await owners();
  expect(new Set(holders).size).toBe(1);
  for (const client of clients) client.close();
});

test("a dispatcher paused past its lease changes no state when continued", async () => {
  const [, survivor] = cluster.dispatchers;
  const before = await Promise.all([0, 1, 2, 3].map((p) => redis.hgetall(`petrel:{p${p}}:owner`)));
  survivor?.signal("SIGSTOP");
  await waitFor(
    async () => {
      const ends = await Promise.all([0, 1, 2, 3].map((p) => redis.hget(`petrel:{p${p}}:owner`, "until")));
      const [seconds = 0] = await redis.time();
      return ends.every((end) => Number(end) < seconds * 1000);
    },
    { what: "the leases to end" },
  );
  // Another dispatcher owns the partitions now; a message waits in `ready`, a user is due.
  for (const p of [0, 1, 2, 3]) {
    await redis.hset(`petrel:{p${p}}:owner`, {
      holder: "another",
      token: String(Number(before[p]?.["token"]) + 1),
      until: "99999999999999",
      leaseMs: "99999999999999",
    });
  }
  await cluster.post("/v1/messages", { to: { user: "t1" }, data: "while paused" });
  for (const p of [0, 1, 2, 3]) await redis.zadd(`petrel:{p${p}}:due`, "XX", 1, "t1");
  const snapshot = async (): Promise<string> => {
    const keys = (await redis.keys("petrel:{p*")).sort();
    const dumps = await Promise.all(keys.map((key) => redis.dumpBuffer(key)));
    return keys.map((key, i) => `${key} ${dumps[i]?.toString("hex")}`).join("\n");
  };
  const state = await snapshot();
  survivor?.signal("SIGCONT");
  await waitFor(async () => (await survivor?.log())?.includes("lease") ?? false, {
    what: "the dispatcher to notice that its lease is gone",
  });
  // Long enough for several of its rounds: hand-over, wake, renewal.
  await new Promise((resolve) => setTimeout(resolve, LEASE_MS));
  expect(await snapshot()).toBe(state);
});
