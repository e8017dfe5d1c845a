// Tests the loop that looks after due users, with a whole dispatcher.
// Guarantees: on a real Redis with a real subscriber.
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { takePartition } from "@petrel/shared/redis/partitions/partition-lease";
import { connectRoute } from "@petrel/shared/redis/routes/connect-routes";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { startDispatcher, type TestDispatcher } from "../testing/start-dispatcher.js";

const WAKES = "petrel_dispatch_wakes_total";
const ACK_TIMEOUT_MS = 300;

let store: OpenStore;
let keys: PartitionKeys;
let running: TestDispatcher | undefined;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(() => store.clear());
afterEach(() => running?.stop());
afterAll(() => store.close());

async function start(ackTimeoutMs = ACK_TIMEOUT_MS, wakeIntervalMs = 20): Promise<TestDispatcher> {
  running = await startDispatcher({
    url: store.server.url,
    dispatcherId: "a",
    partitions: store.partitions,
    ackTimeoutMs,
    wakeIntervalMs,
  });
  return running;
}

async function connect(userId: string): Promise<void> {
  await connectRoute(
    store.scripts,
    keys,
    { userId, node: "n1", connection: "c1", platform: "web" },
    { leaseMs: 60_000, maxConnectionsPerUser: 5, whenFull: "evict", ackTimeoutMs: ACK_TIMEOUT_MS },
  );
}

test("nudges a user who does not acknowledge a timeout later, and again after another", async () => {
  await connect("u1");
  const heard = await store.listen(`${keys.channel}n1`);
  const nudges = (): number => heard.filter((text) => text === "nudge\nu1").length;
  await start();
  const since = performance.now();
  await store.accepter({ ackTimeoutMs: ACK_TIMEOUT_MS }).accept(message());
  await waitFor(() => nudges() >= 1, { what: "the nudge", everyMs: 5 });
  expect(performance.now() - since).toBeGreaterThan(ACK_TIMEOUT_MS - 50);
  await waitFor(() => nudges() >= 2, { what: "another nudge", everyMs: 5 });
  expect(performance.now() - since).toBeGreaterThan(2 * ACK_TIMEOUT_MS - 50);
});

test("works off a backlog of due users in one go, offline ones too", async () => {
  const accepter = store.accepter({ ackTimeoutMs: 1 });
  await Promise.all(Array.from({ length: 1_000 }, (_, i) => accepter.accept(message({ userId: `u${i}` }))));
  await store.redis.zadd(keys.due, 1, "forgotten");
  // Five batches: by the timer alone they would take 25 seconds more.
  const a = await start(10_000, 5_000);
  await waitFor(async () => (await a.count(WAKES, { outcome: "offline" })) === 1_000, {
    what: "all users",
    deadlineMs: 20_000,
  });
  expect(await a.count(WAKES, { outcome: "done" })).toBe(1);
  expect(await store.redis.zcard(keys.due)).toBe(1_000);
  expect(await store.redis.zcount(keys.due, "-inf", await store.nowMs())).toBe(0);
});

test("keeps the record of what waits for an offline user beyond its expiry", async () => {
  await start();
  const ttlMs = 5 * 86_400_000;
  const accepter = store.accepter({ ackTimeoutMs: ACK_TIMEOUT_MS });
  await accepter.accept(message({ id: "m1", ttlMs }));
  expect(await store.redis.pttl(keys.record("m1"))).toBeLessThan(2 * 86_400_000);
  const isKept = async (id: string): Promise<boolean> =>
    (await store.redis.pttl(keys.record(id))) > ttlMs + 86_400_000;
  await waitFor(() => isKept("m1"), { what: "the record to be kept" });
  await accepter.accept(message({ id: "m2", ttlMs }));
  await waitFor(() => isKept("m2"), { what: "a later one's, too" });
});

test("ends a message that nobody fetched before its TTL", async () => {
  const a = await start();
  await store.accepter({ ackTimeoutMs: ACK_TIMEOUT_MS }).accept(message({ id: "m1", ttlMs: 50 }));
  await waitFor(async () => /\texpired \d+$/.test((await store.redis.get(keys.record("m1"))) ?? ""), {
    what: "the end",
  });
  await waitFor(async () => (await store.redis.zscore(keys.due, "u1")) === null, { what: "due to be left" });
  // It counts what Redis has answered.
  const counted = async (): Promise<number> =>
    (await a.count("petrel_dispatch_expired_total")) +
    (await a.count("petrel_dispatch_messages_total", { outcome: "expired" }));
  await waitFor(async () => (await counted()) > 0, { what: "the count" });
  expect(await counted()).toBe(1);
});

test("an owner whose partition another took wakes nobody and stops", async () => {
  const a = await start();
  await waitFor(() => a.owned().length === 2, { what: "both partitions" });
  await store.redis.hset(keys.owner, "until", "0");
  await takePartition(store.scripts, keys, "z", 60_000);
  await store.redis.hset(keys.user("u1"), { seq: "1", acked: "0", epoch: "e.0" });
  await store.redis.zadd(keys.due, 1, "u1");
  await waitFor(() => !a.owned().includes(0), { what: "the loss" });
  expect(await store.redis.zscore(keys.due, "u1")).toBe("1");
  expect(await a.count(WAKES, { outcome: "offline" })).toBe(0);
});

test("a user with broken keys does not block others, and is checked again later", async () => {
  const accepter = store.accepter({ ackTimeoutMs: 1 });
  for (const userId of ["u1", "broken", "u2"]) await accepter.accept(message({ userId, notification: "{}" }));
  await store.redis.del(keys.routes("broken"));
  await store.redis.set(keys.routes("broken"), "x");
  await store.redis.del(keys.ready);
  await start(10_000);
  await waitFor(async () => (await store.redis.xlen(keys.fallback("normal"))) === 2, { what: "the others" });
  await waitFor(
    async () => Number(await store.redis.zscore(keys.due, "broken")) > (await store.nowMs()) + 30_000,
    { what: "the broken one to be put off" },
  );
});

test("nudges a live client that never acknowledges; a timeout later its message goes to the fallback", async () => {
  await connect("u1");
  const heard = await store.listen(`${keys.channel}n1`);
  const a = await start();
  const since = performance.now();
  await store.accepter({ ackTimeoutMs: ACK_TIMEOUT_MS }).accept(message({ notification: "{}" }));
  await store.redis.del(keys.ready);
  await waitFor(async () => (await store.redis.xlen(keys.fallback("normal"))) === 1, { what: "the offer" });
  expect(performance.now() - since).toBeGreaterThan(2 * ACK_TIMEOUT_MS - 50);
  expect(heard.filter((text) => text === "nudge\nu1").length).toBeGreaterThanOrEqual(2);
  await waitFor(async () => (await a.count(WAKES, { outcome: "nudged" })) >= 4, { what: "more nudges" });
  expect(await store.redis.xlen(keys.fallback("normal"))).toBe(1);
  expect(await a.count("petrel_dispatch_offered_total")).toBe(1);
});

test("reports a full fallback stream, from a wake and from a hand-over", async () => {
  const offered = { notification: `{"title":"t"}`, fallback: "offline" } as const;
  await store.redis.xadd(keys.fallback("normal"), "*", "m", "1");
  let heldUp = 0;
  await store.accepter({ handOver: "dispatch" }).accept(message(offered));
  running = await startDispatcher({
    url: store.server.url,
    dispatcherId: "a",
    partitions: store.partitions,
    fallbackCap: 1,
    onHeldUp: () => heldUp++,
  });
  await waitFor(() => heldUp === 1, { what: "the hand-over's word" });
  await store.redis.zadd(keys.due, 1, "u1");
  await waitFor(() => heldUp === 2, { what: "the wake's word" });
  expect(await store.redis.xlen(keys.fallback("normal"))).toBe(1);
});

test("a wake finds a node gone: its user is offline at once", async () => {
  await connect("u1");
  const a = await start();
  await store.accepter({ ackTimeoutMs: 1 }).accept(message({ notification: "{}" }));
  await store.redis.del(keys.ready);
  await waitFor(async () => (await store.redis.xlen(keys.fallback("normal"))) === 1, { what: "the offer" });
  expect(await a.count("petrel_dispatch_gone_nodes_total")).toBeGreaterThanOrEqual(1);
  expect(await store.redis.exists(keys.routes("u1"))).toBe(0);
});
