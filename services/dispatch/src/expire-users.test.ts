// Tests writing the ends of what has waited too long.
// Guarantees: on a real Redis; more messages than a page holds.
import { expireMessages } from "@petrel/shared/redis/expire-messages";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { expireUsers } from "./expire-users.js";

let store: OpenStore;
let keys: PartitionKeys;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(() => store.clear());
afterAll(() => store.close());

const HOUR_MS = 3_600_000;

async function accept(userId: string, ttlsMs: readonly number[]): Promise<void> {
  const accepter = store.accepter();
  await Promise.all(
    ttlsMs.map((ttlMs, i) => accepter.accept(message({ userId, ttlMs, id: `${userId}-${i + 1}` }))),
  );
}

/** Redis' time, once the short ones are over. */
async function afterExpiry(): Promise<number> {
  const startMs = await store.nowMs();
  await waitFor(async () => (await store.nowMs()) > startMs + 2, { what: "the expiry" });
  return store.nowMs();
}

async function ends(userId: string, count: number): Promise<string[]> {
  const records = await store.redis.mget(
    Array.from({ length: count }, (_, i) => keys.record(`${userId}-${i + 1}`)),
  );
  return records.map((record) => record?.split("\t")[7]?.split(" ")[0] ?? "open");
}

test("all that is over gets its end, across pages, and acked moves over it", async () => {
  await accept(
    "u1",
    Array.from({ length: 450 }, () => 1),
  );
  const nowMs = await afterExpiry();
  expect(await expireUsers(store.scripts, keys, ["u1"], nowMs)).toBe(450);
  expect(new Set(await ends("u1", 450))).toEqual(new Set(["expired"]));
  expect(await store.redis.hget(keys.user("u1"), "acked")).toBe("450");
  expect(await store.redis.zscore(keys.due, "u1")).toBeNull();
});

test("what remains says when the next look is", async () => {
  await accept("u1", [1, 2 * HOUR_MS, 1, HOUR_MS]);
  await store.redis.zadd(keys.due, 9e15, "u1");
  const nowMs = await afterExpiry();
  expect(await expireUsers(store.scripts, keys, ["u1"], nowMs)).toBe(2);
  expect(await ends("u1", 4)).toEqual(["expired", "open", "expired", "open"]);
  expect(await store.redis.hget(keys.user("u1"), "acked")).toBe("1");
  const nextMs = Number(await store.redis.zscore(keys.due, "u1"));
  expect(nextMs).toBeGreaterThan(nowMs + HOUR_MS - 60_000);
  expect(nextMs).toBeLessThan(nowMs + HOUR_MS + 60_000);
  expect(await store.redis.hget(keys.user("u1"), "nextExpiry")).toBe(String(nextMs));
  // The third is still in the way of nothing: done again, nothing changes.
  const before = await store.snapshot();
  expect(await expireUsers(store.scripts, keys, ["u1"], nowMs)).toBe(0);
  expect(await store.snapshot()).toEqual(before);
});

test("a message stored while the others were read makes what they say of the next expiry void", async () => {
  await accept("u1", [HOUR_MS, 2 * HOUR_MS]);
  const epoch = (await store.redis.hget(keys.user("u1"), "epoch")) ?? "";
  const before = await store.snapshot();
  const atMs = (await store.nowMs()) + 2 * HOUR_MS;
  await expireMessages(store.scripts, keys, "u1", [], { atMs, readSeq: 1, epoch });
  expect(await store.snapshot()).toEqual(before);
  await expireMessages(store.scripts, keys, "u1", [], { atMs, readSeq: 2, epoch });
  expect(await store.redis.hget(keys.user("u1"), "nextExpiry")).toBe(String(atMs));
});

test("many users, among them one that is not there", async () => {
  const users = Array.from({ length: 40 }, (_, i) => `u${i}`);
  await Promise.all(users.map((userId) => accept(userId, [1, 1])));
  expect(await expireUsers(store.scripts, keys, [...users, "nobody"], await afterExpiry())).toBe(80);
});
