// Tests when users were last connected.
// Guarantees: a closed connection leaves its end, a node that died the end of its lease; who is connected, by any
// connection, has none, and nothing is made up for who was never there.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { connectRoute } from "../routes/connect-routes.js";
import { removeRoute } from "../routes/route-store.js";
import { readLastSeen, type LastSeen } from "./read-last-seen.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const limits = {
  leaseMs: 30_000,
  maxConnectionsPerUser: 5,
  whenFull: "evict",
  ackTimeoutMs: 10_000,
} as const;

async function connect(userId: string, connection: string): Promise<string> {
  const route = { userId, node: "n1", connection, platform: "web" };
  const result = await connectRoute(store.scripts, store.keys, route, limits);
  if (result.outcome !== "connected") throw new Error(result.outcome);
  return result.member;
}

const leave = (userId: string, member: string, graceMs: number): Promise<void> =>
  removeRoute(store.scripts, store.keys, userId, member, graceMs);
const read = (...userIds: string[]): Promise<LastSeen[]> => readLastSeen(store.scripts, store.keys, userIds);
const online = { isOnline: true, lastSeenAtMs: undefined };
const unknown = { isOnline: false, lastSeenAtMs: undefined };

test("answers in the order of the questions", async () => {
  await connect("bob", "c1");
  expect(await read("alice", "bob", "carol")).toEqual([unknown, online, unknown]);
});

test("the last connection to close counts, with and without a grace lease", async () => {
  for (const [userId, graceMs] of [
    ["alice", 3_000],
    ["bob", 0],
  ] as const) {
    const [first, second] = [await connect(userId, "c1"), await connect(userId, "c2")];
    const connectedAt = await store.redis.hget(store.keys.user(userId), "seenAt");
    await leave(userId, second, graceMs);
    expect(await store.redis.hget(store.keys.user(userId), "seenAt")).toBe(connectedAt);
    expect(await read(userId)).toEqual([online]);
    const beforeMs = await store.nowMs();
    await leave(userId, first, graceMs);
    const [seen] = await read(userId);
    expect(seen?.isOnline).toBe(false);
    expect(seen?.lastSeenAtMs).toBeGreaterThanOrEqual(beforeMs);
    expect(seen?.lastSeenAtMs).toBeLessThanOrEqual(await store.nowMs());
    // Comes back, and is there.
    await connect(userId, "c3");
    expect(await read(userId)).toEqual([online]);
  }
});

test("a connection of a node that died ended with its lease, unless another one ended later", async () => {
  const member = await connect("alice", "c1");
  await store.endLeases("alice");
  const endMs = Number(await store.redis.zscore(store.keys.routes("alice"), member));
  await store.redis.hset(store.keys.user("alice"), "seenAt", endMs - 5_000);
  expect(await read("alice")).toEqual([{ isOnline: false, lastSeenAtMs: endMs }]);
  await store.redis.hset(store.keys.user("alice"), "seenAt", endMs + 5_000);
  expect(await read("alice")).toEqual([{ isOnline: false, lastSeenAtMs: endMs + 5_000 }]);
});

test("a connection that dies beside a dead one is the last; an expired lease holds nobody", async () => {
  await connect("alice", "dead");
  await store.endLeases("alice");
  const deadEndMs = (await read("alice"))[0]?.lastSeenAtMs ?? 0;
  const second = await connect("alice", "c2");
  await leave("alice", second, 3_000);
  expect((await read("alice"))[0]?.lastSeenAtMs).toBeGreaterThanOrEqual(deadEndMs);
  expect(await store.redis.hexists(store.keys.user("alice"), "seenAt")).toBe(1);
});

test("an erased user is not recreated by a connection that closes", async () => {
  const member = await connect("alice", "c1");
  await store.redis.del(store.keys.user("alice"));
  await leave("alice", member, 0);
  expect(await store.redis.exists(store.keys.user("alice"))).toBe(0);
  expect(await read("alice")).toEqual([unknown]);
});

test("a connect leaves a time of the last ten minutes as it is, and no other", async () => {
  const nowMs = await store.nowMs();
  const kept = String(nowMs - 500_000);
  for (const [found, isKept] of [
    [kept, true],
    [String(nowMs - 700_000), false],
    [String(nowMs + 60_000), false],
  ] as const) {
    await leave("alice", await connect("alice", "c1"), 0);
    await store.redis.hset(store.keys.user("alice"), "seenAt", found);
    await connect("alice", "c2");
    const seenAt = await store.redis.hget(store.keys.user("alice"), "seenAt");
    if (isKept) expect(seenAt).toBe(found);
    else expect(Math.abs(Number(seenAt) - nowMs)).toBeLessThan(30_000);
    await store.clear();
  }
});
