// Tests the ack step.
// Guarantees: `acked` only moves forward, within what was assigned, in the user's own epoch; nothing is created.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers, type UserAck } from "./ack-users.js";

let store: OpenStore;
let epoch: string;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  epoch = await accept(3);
});
afterAll(() => store.close());

/** @returns the user's epoch */
async function accept(count: number, userId = "u1"): Promise<string> {
  const accepter = store.accepter();
  const results = await Promise.all(
    Array.from({ length: count }, () => accepter.accept(message({ userId }))),
  );
  const last = results.at(-1);
  if (last?.outcome !== "stored") throw new Error("not stored");
  return last.epoch;
}

const ack = (seq: number, of: Partial<UserAck> = {}, history = 1_000) =>
  ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq, ...of }], history);
const cursor = () => store.redis.hmget(store.keys.user("u1"), "seq", "acked");
const isDue = async () => (await store.redis.zscore(store.keys.due, "u1")) !== null;

test("moves acked to the given seq and records the time", async () => {
  const before = await store.nowMs();
  expect(await ack(2)).toEqual([2]);
  expect(await cursor()).toEqual(["3", "2"]);
  expect(Number(await store.redis.hget(store.keys.user("u1"), "ackedAt"))).toBeGreaterThanOrEqual(before);
});

test("never moves back, and keeps the time of the last progress", async () => {
  await ack(2);
  const before = await store.snapshot();
  expect(await ack(1)).toEqual([2]);
  expect(await ack(2)).toEqual([2]);
  expect(await ack(0)).toEqual([2]);
  expect(await store.snapshot()).toEqual(before);
});

test("is clamped to seq, so that later messages are not acked beforehand", async () => {
  expect(await ack(1_000)).toEqual([3]);
  expect(await cursor()).toEqual(["3", "3"]);
  await accept(1);
  expect(await cursor()).toEqual(["4", "3"]);
  expect(await isDue()).toBe(true);
});

test("in a foreign epoch changes nothing", async () => {
  const before = await store.snapshot();
  expect(await ack(2, { epoch: "foreign.0" })).toEqual([undefined]);
  expect(await ack(2, { epoch: "" })).toEqual([undefined]);
  expect(await store.snapshot()).toEqual(before);
});

test("never creates a hash, nor anything else", async () => {
  const before = await store.snapshot();
  expect(await ack(2, { userId: "nobody" })).toEqual([undefined]);
  expect(await store.snapshot()).toEqual(before);
});

test("the user leaves due only when everything is acked", async () => {
  await ack(2);
  expect(await isDue()).toBe(true);
  await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq: 3 }], 1_000, 0, -1);
  expect(await isDue()).toBe(false);
});

test("a user's first ack removes the user from due", async () => {
  await ack(3);
  expect(await isDue()).toBe(false);
});

test("a user who acknowledges again within a moment stays in due, armed no later than before", async () => {
  const dueAt = await store.redis.zscore(store.keys.due, "u1");
  await ack(2);
  await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq: 3 }], 1_000, 0, 600_000);
  expect(await store.redis.zscore(store.keys.due, "u1")).toBe(dueAt);
  await accept(1);
  expect(await store.redis.zscore(store.keys.due, "u1")).toBe(dueAt);
});

test("a last ack in the future, by a clock since set back, keeps nobody in due", async () => {
  await ack(2);
  await store.redis.hset(store.keys.user("u1"), "ackedAt", (await store.nowMs()) + 60_000);
  await ack(3);
  expect(await isDue()).toBe(false);
});

test("an ack without progress removes a leftover due entry", async () => {
  await ack(3);
  await store.redis.zadd(store.keys.due, 1, "u1");
  await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq: 3 }], 1_000, 0, -1);
  expect(await isDue()).toBe(false);
});

test("handles each of a batch on its own, with answers in order", async () => {
  const second = await accept(2, "u2");
  const answers = await ackUsers(
    store.scripts,
    store.keys,
    [
      { userId: "u2", epoch: second, seq: 9 },
      { userId: "u1", epoch: second, seq: 1 },
      { userId: "u1", epoch, seq: 1 },
      { userId: "nobody", epoch, seq: 1 },
      { userId: "u1", epoch, seq: 2 },
    ],
    1_000,
  );
  expect(answers).toEqual([2, undefined, 1, undefined, 2]);
  expect(await store.redis.zrange(store.keys.due, "0", "-1")).toEqual(["u1"]);
});

test("trims only acked messages, and keeps the last of them as history", async () => {
  await accept(997);
  const inboxSeqs = async () =>
    (await store.redis.xrange(store.keys.inbox("u1"), "-", "+")).map(([id]) => Number.parseInt(id));
  await ack(500, {}, 50);
  const afterFirst = await inboxSeqs();
  // Trimming is approximate: it drops whole nodes of the stream, of up to a hundred entries.
  expect(afterFirst[0]).toBeGreaterThan(1);
  expect(afterFirst[0]).toBeLessThanOrEqual(451);
  expect(afterFirst.at(-1)).toBe(1_000);
  await ack(1_000, {}, 0);
  expect((await inboxSeqs())[0] ?? 1_001).toBeGreaterThan(900);
});

test("trims nothing if the history may be longer than the acks", async () => {
  await accept(597);
  await ack(600, {}, 1_000);
  expect(await store.redis.xlen(store.keys.inbox("u1"))).toBe(600);
});

test("many small acks trim as one large one does", async () => {
  await accept(497);
  for (let seq = 1; seq <= 500; seq++) await ack(seq, {}, 10);
  expect(await store.redis.xlen(store.keys.inbox("u1"))).toBeLessThanOrEqual(10 + 64 + 100);
});

test("accepts acks even when Redis is out of memory: they free it", async () => {
  await store.redis.config("SET", "maxmemory", "1");
  try {
    expect(await ack(3)).toEqual([3]);
  } finally {
    await store.redis.config("SET", "maxmemory", "0");
  }
});
