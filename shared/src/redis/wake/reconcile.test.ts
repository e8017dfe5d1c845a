// Tests the reconciler's step on a real Redis: who hangs, and what is done about it.
// Guarantees: a stale owner changes nothing.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "../inbox/ack-users.js";
import { takePartition } from "../partitions/partition-lease.js";
import { reconcileUsers, type Reconciled } from "./reconcile-users.js";
import { scanUsers } from "./scan-users.js";

const OVERDUE_MS = 60_000;
const DAY_MS = 86_400_000;
const RULES = { overdueMs: OVERDUE_MS, idleMs: DAY_MS } as const;

let store: OpenStore;
let token: string;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  const lease = await takePartition(store.scripts, store.keys, "a", 60_000);
  if (lease.outcome !== "held") throw new Error("not taken");
  ({ token } = lease);
});
afterAll(() => store.close());

const look = async (userIds: readonly string[]): Promise<Reconciled> => {
  const reconciled = await reconcileUsers(store.scripts, store.keys, token, RULES, userIds);
  if (reconciled === "stale") throw new Error("refused");
  return reconciled;
};
const reconcile = async (...userIds: string[]) => (await look(userIds)).hanging;

async function accept(userId: string): Promise<string> {
  const result = await store.accepter().accept(message({ userId }));
  if (result.outcome !== "stored") throw new Error(result.outcome);
  return result.epoch;
}

test("leaves a user alone who has nothing open, or waits for its time", async () => {
  const epoch = await accept("u1");
  await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq: 1 }], 100);
  await accept("u2");
  await store.redis.hset(store.keys.user("u3"), "something", "else");
  const before = await store.snapshot();
  expect(await reconcile("u1", "u2", "u3", "nobody")).toEqual([]);
  expect(await store.snapshot()).toEqual(before);
});

test("unwatched: a user with an open message who is not in due is added, for now", async () => {
  const epoch = await accept("u1");
  await accept("u1");
  await accept("u1");
  await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq: 1 }], 100);
  await accept("u2");
  await store.redis.zrem(store.keys.due, "u1");
  expect(await reconcile("u2", "u1")).toEqual([{ userId: "u1", reason: "unwatched", acked: 1, seq: 3 }]);
  expect(Number(await store.redis.zscore(store.keys.due, "u1"))).toBeLessThanOrEqual(await store.nowMs());
  expect(await reconcile("u2", "u1")).toEqual([]);
});

test("overdue: a user who was due long ago", async () => {
  await accept("u1");
  await accept("u2");
  await store.redis.zadd(store.keys.due, (await store.nowMs()) - OVERDUE_MS + 5_000, "u1");
  await store.redis.zadd(store.keys.due, (await store.nowMs()) - OVERDUE_MS - 5_000, "u2");
  expect(await reconcile("u1", "u2")).toEqual([{ userId: "u2", reason: "overdue", acked: 0, seq: 1 }]);
});

test("unkept: a user whose open messages' records nobody has kept, and who is not due soon", async () => {
  for (const userId of ["u1", "u2", "u3"]) await accept(userId);
  const far = (await store.nowMs()) + 3_600_000;
  await store.redis.zadd(store.keys.due, far, "u1", far, "u2");
  await store.redis.hset(store.keys.user("u2"), "kept", "1");
  const before = await store.snapshot();
  expect(await look(["u1", "u2", "u3"])).toEqual({ hanging: [], unkept: ["u1"], emptied: [] });
  expect(await store.snapshot()).toEqual(before);
});

test("a stale owner changes nothing", async () => {
  await accept("u1");
  await store.redis.zrem(store.keys.due, "u1");
  await takePartition(store.scripts, store.keys, "a", 60_000);
  const before = await store.snapshot();
  expect(await reconcileUsers(store.scripts, store.keys, token, RULES, ["u1"])).toBe("stale");
  expect(await store.snapshot()).toEqual(before);
});

test("a walk visits every user, by partition, and nothing else", async () => {
  const expected = new Map<number, string[]>([
    [0, []],
    [1, []],
  ]);
  for (let i = 0; i < 300; i++) {
    const partition = i % 2;
    await store.accepter().accept(message({ userId: `user:${i}`, partition }));
    expected.get(partition)?.push(`user:${i}`);
  }
  const found = new Map<number, Set<string>>();
  let cursor = "0";
  let steps = 0;
  do {
    const scan = await scanUsers(store.redis, "user", cursor, 50);
    ({ cursor } = scan);
    steps++;
    for (const [partition, users] of scan.found) {
      const known = found.get(partition) ?? new Set();
      found.set(partition, known);
      for (const user of users) known.add(user);
    }
  } while (cursor !== "0");
  expect(steps).toBeGreaterThan(5);
  for (const [partition, users] of expected) {
    expect([...(found.get(partition) ?? [])].sort()).toEqual(users.sort());
  }
});
