// Flow: Redis is away for a moment while business systems send: their keys are remembered.
// Guarantees: no look-up causes a refusal within ACCEPT_DEADLINE_MS; a key that was revoked meanwhile is refused soon
// after. Times are printed, not judged: the cache's unit tests check them on their own clock.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { authKeys } from "@petrel/shared/redis/auth/auth-keys";
import { partitionKeys } from "@petrel/shared/redis/keys";
import { signRequest } from "@petrel/shared/security/producers/request-signature";
import { startFaultProxy, type FaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { startRedisCluster } from "@petrel/shared/testing/redis/start-redis-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";

const undo: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

const SENDERS = 8;
const PAUSE_MS = 60;
/**
 * Longer than a record is trusted, than the node timeout, and than a command waits; shorter than a stale record may
 * serve.
 */
const DEAD_MS = 8_000;

let nonces = 0;

async function post(collectUrl: string, key: string, user: string, isSigned = false): Promise<number> {
  const body = JSON.stringify({ to: { user }, data: "x" });
  const [keyId = "", secret = ""] = key.split(".");
  const id = `nonce-${++nonces}`;
  const timestamp = String(Math.floor(Date.now() / 1_000));
  const bodySha256 = createHash("sha256").update(body).digest("hex");
  const target = "/v1/messages";
  const signature = signRequest({ id, timestamp, method: "POST", target, bodySha256 }, secret);
  const credential: Record<string, string> = isSigned
    ? {
        "petrel-key": keyId,
        "petrel-id": id,
        "petrel-timestamp": timestamp,
        "petrel-signature": `v1,${signature}`,
      }
    : { authorization: `Bearer ${key}` };
  const answer = await askService(collectUrl + target, {
    method: "POST",
    headers: { "content-type": "application/json", ...credential },
    body,
  });
  await answer.text();
  return answer.status;
}

/** Sends until it is told to stop. @returns stops it, and counts the statuses */
function sendAlong(
  cluster: TestCluster,
  users: readonly string[],
  mayBeSigned: boolean,
): () => Promise<Record<number, number>> {
  const statuses: Record<number, number> = {};
  let isOver = false;
  const senders = Array.from({ length: SENDERS }, async (_, i) => {
    for (let turn = i; !isOver; turn++) {
      const user = users[turn % users.length] ?? "";
      const status = await post(cluster.collect.url, cluster.apiKey, user, mayBeSigned && i % 2 === 0);
      statuses[status] = (statuses[status] ?? 0) + 1;
      await sleep(PAUSE_MS);
    }
  });
  return async () => {
    isOver = true;
    await Promise.all(senders);
    return statuses;
  };
}

describe("one link to Redis cut", () => {
  let proxy: FaultProxy;
  let cluster: TestCluster;
  const close: (() => Promise<unknown>)[] = [];
  beforeAll(async () => {
    const redis = await startRedis();
    close.push(() => redis.stop());
    proxy = await startFaultProxy({ targetPort: redis.port });
    close.push(() => proxy.stop());
    cluster = await startCluster({
      together: true,
      nodes: 1,
      redis,
      environmentOf: (name): Record<string, string> =>
        name === "collect" ? { REDIS_URL: `redis://127.0.0.1:${proxy.port}` } : {},
      // A busy machine is slow to come back; this only shows that nobody is refused before.
      environment: { ACCEPT_DEADLINE_MS: "20000" },
    });
    close.push(() => cluster.stop());
  });
  afterAll(async () => {
    for (const step of close.reverse()) await step();
  });

  // Must run first: the process must not have seen the key.
  test("looks up a key new to the process until it is found", async () => {
    proxy.cut();
    const answer = post(cluster.collect.url, cluster.apiKey, "alice");
    await sleep(500);
    proxy.heal();
    expect(await answer).toBe(202);
  });

  test("cut for half a second, and for two: every message is accepted, signed ones too", async () => {
    expect(await post(cluster.collect.url, cluster.apiKey, "alice")).toBe(202);
    const stop = sendAlong(cluster, ["alice", "bob", "carol"], true);
    for (const cutMs of [500, 2_000]) {
      await sleep(300);
      proxy.cut();
      await sleep(cutMs);
      proxy.heal();
      await waitFor(async () => (await post(cluster.collect.url, cluster.apiKey, "dave")) === 202, {
        what: "collect to store again",
        deadlineMs: 30_000,
      });
    }
    const statuses = await stop();
    process.stdout.write(`answers over both cuts: ${JSON.stringify(statuses)}\n`);
    expect(Object.keys(statuses)).toEqual(["202"]);
  });

  test("a key revoked while Redis is away for one collect is refused there soon after", async () => {
    const admin = { authorization: `Bearer ${cluster.adminKey}` };
    const made = await askService(`${cluster.auth.url}/v1/keys`, {
      method: "POST",
      headers: { ...admin, "content-type": "application/json" },
      body: JSON.stringify({ name: "shop", owner: "shop", scopes: ["send"] }),
    });
    expect(made.status).toBe(201);
    const { id, secret } = (await made.json()) as { id: string; secret: string };
    const key = `${id}.${secret}`;
    expect(await post(cluster.collect.url, key, "alice")).toBe(202);

    proxy.cut();
    const during = post(cluster.collect.url, key, "alice");
    const revoked = await askService(`${cluster.auth.url}/v1/keys/${id}`, {
      method: "DELETE",
      headers: admin,
    });
    expect(revoked.status).toBe(204);
    await sleep(1_500);
    proxy.heal();
    const healedMs = performance.now();
    // A request that was let in before the revocation gets its usual answer.
    expect(await during).toBe(202);
    await waitFor(async () => (await post(cluster.collect.url, key, "alice")) === 401, {
      what: "the key to be refused",
      deadlineMs: 20_000,
      everyMs: 50,
    });
    const tookMs = Math.round(performance.now() - healedMs);
    process.stdout.write(`revoked during the cut: refused ${tookMs} ms after its end\n`);
  });
});

test("the Redis Cluster master with the keys dies: users of the others are served as before", async () => {
  // Nobody takes its place: its keys are away, and the other masters go on.
  const redis = await startRedisCluster({
    replicas: 0,
    nodeTimeoutMs: 1_000,
    extraArgs: ["--cluster-require-full-coverage", "no"],
  });
  undo.push(() => redis.stop());
  const [first] = redis.nodes;
  if (first === undefined) throw new Error("no node");
  const partitions = 8;
  const cluster = await startCluster({
    together: true,
    nodes: 1,
    redis: first,
    environment: { PARTITIONS: String(partitions), ACCEPT_DEADLINE_MS: "20000", ...redis.environment },
  });
  undo.push(() => cluster.stop());
  const keysMaster = await redis.masterOf(authKeys.producerKey(cluster.apiKey.split(".")[0] ?? ""));
  const masters = await Promise.all(
    Array.from({ length: partitions }, (_, partition) => redis.masterOf(partitionKeys(partition).owner)),
  );
  const users = Array.from({ length: 40 }, (_, i) => `user-${i}`).filter(
    (user) => masters[partitionOfUser(user, partitions)] !== keysMaster,
  );
  expect(users.length).toBeGreaterThan(5);
  expect(await post(cluster.collect.url, cluster.apiKey, users[0] ?? "")).toBe(202);

  const stop = sendAlong(cluster, users, false);
  await sleep(300);
  keysMaster.signal("SIGKILL");
  await keysMaster.exited;
  await sleep(DEAD_MS);
  const statuses = await stop();
  process.stdout.write(`answers while the keys' master was dead: ${JSON.stringify(statuses)}\n`);
  expect(Object.keys(statuses)).toEqual(["202"]);
});
