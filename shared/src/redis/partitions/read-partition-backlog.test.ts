// Tests what a partition says of its backlog, on a real Redis.
// Guarantees: each figure grows with what waits and falls with what ended; broken keys affect only themselves.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { ackUsers } from "../inbox/ack-users.js";
import { readPartitionBacklog } from "./read-partition-backlog.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const read = (lateAfterMs = 60_000) => readPartitionBacklog(store.redis, store.keys, lateAfterMs);

async function accept(userId: string): Promise<string> {
  const result = await store.accepter().accept(message({ userId }));
  if (result.outcome !== "stored") throw new Error("not stored");
  return result.epoch;
}

test("reads an empty partition", async () => {
  expect(await read()).toEqual({
    ready: 0,
    scheduled: 0,
    scheduleLagMs: 0,
    readyOldestMs: 0,
    dueUsers: 0,
    wakeLagMs: 0,
    undeliveredOldestMs: 0,
    sampledUsers: 0,
    lateUsers: 0,
  });
});

test("a waiting message has an age until it is acknowledged", async () => {
  const epoch = await accept("u1");
  await accept("u2");
  await waitFor(async () => (await read()).undeliveredOldestMs > 20, { what: "some age" });
  const waiting = await read();
  expect(waiting).toMatchObject({ ready: 2, dueUsers: 2, wakeLagMs: 0 });
  expect(waiting.readyOldestMs).toBeGreaterThan(20);
  // u2's is a little younger: the oldest goes.
  const before = await store.nowMs();
  await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq: 1 }], 100);
  const { undeliveredOldestMs, dueUsers } = await read();
  expect(dueUsers).toBe(1);
  expect(undeliveredOldestMs).toBeLessThanOrEqual(
    waiting.undeliveredOldestMs + (await store.nowMs()) - before + 50,
  );
});

test("what was offered to the fallback no longer counts as undelivered: its age is the fallback's", async () => {
  await accept("u1");
  await waitFor(async () => (await read()).undeliveredOldestMs > 20, { what: "some age" });
  await store.redis.hset(store.keys.user("u1"), "offered", "1");
  expect(await read()).toMatchObject({ dueUsers: 1, undeliveredOldestMs: 0 });
});

test("shows a late wake", async () => {
  await accept("u1");
  const nowMs = await store.nowMs();
  await store.redis.zadd(store.keys.due, nowMs - 5_000, "u1");
  const { wakeLagMs } = await read();
  expect(wakeLagMs).toBeGreaterThanOrEqual(5_000);
  expect(wakeLagMs).toBeLessThan(60_000);
});

test("a user with broken keys hides nobody else", async () => {
  await accept("u2");
  await store.redis.set(store.keys.user("u1"), "no hash");
  await store.redis.zadd(store.keys.due, 1, "u1");
  await waitFor(async () => (await read()).undeliveredOldestMs > 5, { what: "u2's age" });
});

test("counts users who have waited too long, in a sample of many", async () => {
  const epoch = await accept("u0");
  for (let i = 1; i < 6; i++) await accept(`u${i}`);
  await waitFor(async () => (await read(20)).lateUsers === 6, { what: "all to be late" });
  expect(await read()).toMatchObject({ sampledUsers: 6, lateUsers: 0 });
  // Offered is not late; neither is who has acknowledged everything.
  await store.redis.hset(store.keys.user("u1"), "offered", "1");
  await ackUsers(store.scripts, store.keys, [{ userId: "u0", epoch, seq: 1 }], 100);
  expect(await read(20)).toMatchObject({ sampledUsers: 5, lateUsers: 4 });
  for (let i = 6; i < 50; i++) await accept(`u${i}`);
  expect(await read()).toMatchObject({ dueUsers: 49, sampledUsers: 32, lateUsers: 0 });
});

test("takes the share of late users from a random sample, not from those who have waited longest", async () => {
  for (let i = 0; i < 8; i++) await accept(`late${i}`);
  await waitFor(async () => (await read(20)).lateUsers === 8, { what: "all to be late" });
  for (let i = 0; i < 60; i++) {
    await accept(`u${i}`);
    await store.redis.hset(store.keys.user(`u${i}`), "offered", "1");
  }
  // All eight are looked at, as those who are due next; by chance alone one in two is.
  for (let i = 0; i < 8; i++) await store.redis.zadd(store.keys.due, 1, `late${i}`);
  await waitFor(async () => (await read(20)).lateUsers < 8, { what: "a sample without one of them" });
  expect(await read(20)).toMatchObject({ dueUsers: 68, sampledUsers: 32 });
});
