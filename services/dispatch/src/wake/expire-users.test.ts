// Tests writing the ends of expired messages.
// Guarantees: on a real Redis; more messages than a page holds.
import { ackUsers } from "@petrel/shared/redis/inbox/ack-users";
import { expireMessages } from "@petrel/shared/redis/inbox/expire-messages";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
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

test("ends everything expired, across pages, and moves acked over it", async () => {
  await accept(
    "u1",
    Array.from({ length: 450 }, () => 1),
  );
  await afterExpiry();
  expect(await expireUsers(store.scripts, keys, ["u1"])).toEqual({ written: 450, left: 0 });
  expect(new Set(await ends("u1", 450))).toEqual(new Set(["expired"]));
  expect(await store.redis.hget(keys.user("u1"), "acked")).toBe("450");
  expect(await store.redis.zscore(keys.due, "u1")).toBeNull();
});

test("the rest decides when the next look is", async () => {
  await accept("u1", [1, 2 * HOUR_MS, 1, HOUR_MS]);
  await store.redis.zadd(keys.due, 9e15, "u1");
  const nowMs = await afterExpiry();
  expect(await expireUsers(store.scripts, keys, ["u1"])).toMatchObject({ written: 2 });
  expect(await ends("u1", 4)).toEqual(["expired", "open", "expired", "open"]);
  expect(await store.redis.hget(keys.user("u1"), "acked")).toBe("1");
  const nextMs = Number(await store.redis.zscore(keys.due, "u1"));
  expect(nextMs).toBeGreaterThan(nowMs + HOUR_MS - 60_000);
  expect(nextMs).toBeLessThan(nowMs + HOUR_MS + 60_000);
  expect(await store.redis.hget(keys.user("u1"), "nextExpiry")).toBe(String(nextMs));
  // The third is still in the way of nothing: done again, nothing changes.
  const before = await store.snapshot();
  expect(await expireUsers(store.scripts, keys, ["u1"])).toMatchObject({ written: 0 });
  expect(await store.snapshot()).toEqual(before);
});

test("a message stored while the others were read invalidates their next expiry", async () => {
  await accept("u1", [HOUR_MS, 2 * HOUR_MS]);
  const epoch = (await store.redis.hget(keys.user("u1"), "epoch")) ?? "";
  const before = await store.snapshot();
  const atMs = (await store.nowMs()) + 2 * HOUR_MS;
  await expireMessages(store.scripts, keys, "u1", [], { atMs, readSeq: 1, epoch });
  expect(await store.snapshot()).toEqual(before);
  await expireMessages(store.scripts, keys, "u1", [], { atMs, readSeq: 2, epoch });
  expect(await store.redis.hget(keys.user("u1"), "nextExpiry")).toBe(String(atMs));
});

test("handles many users, including one that is missing", async () => {
  const users = Array.from({ length: 40 }, (_, i) => `u${i}`);
  await Promise.all(users.map((userId) => accept(userId, [1, 1])));
  await afterExpiry();
  expect(await expireUsers(store.scripts, keys, [...users, "nobody"])).toMatchObject({ written: 80 });
});

/** Of one that holds 300 messages of 4 KiB: too many for a page, and for their size. */
async function fillLongInbox(ttlMs = HOUR_MS): Promise<void> {
  const accepter = store.accepter();
  const data = JSON.stringify("x".repeat(4_096));
  await Promise.all(
    Array.from({ length: 300 }, (_, i) => accepter.accept(message({ ttlMs, data, id: `u1-${i + 1}` }))),
  );
}

test("a look at a long inbox reads numbers and times from Redis, not messages", async () => {
  await fillLongInbox();
  const sentBytes = async (): Promise<number> =>
    Number(/total_net_output_bytes:(\d+)/.exec(await store.redis.info("stats"))?.[1]);
  const before = await sentBytes();
  await expireUsers(store.scripts, keys, ["u1"]);
  expect((await sentBytes()) - before).toBeLessThan(64 * 1024);
});

test("a user who gets more during the look still learns when the next one is", async () => {
  await fillLongInbox();
  const accepter = store.accepter();
  let arrivals = 0;
  class Busy extends ScriptRunner {
    override async run(...args: Parameters<ScriptRunner["run"]>): Promise<string> {
      const answer = await super.run(...args);
      // Between the last page and what it says of the next look.
      if (args[0].startsWith("find-expired") && arrivals++ < 12) await accepter.accept(message());
      return answer;
    }
  }
  await store.redis.hset(keys.user("u1"), "nextExpiry", 1);
  await expireUsers(new Busy(store.redis), keys, ["u1"]);
  // The first tries were overtaken.
  expect(arrivals).toBeGreaterThan(12);
  const nextMs = Number(await store.redis.hget(keys.user("u1"), "nextExpiry"));
  expect(nextMs).toBeGreaterThan(await store.nowMs());
});

test("does not look up again what it has written, but acked still moves over it", async () => {
  await accept("u1", [HOUR_MS]);
  const accepter = store.accepter();
  await Promise.all(
    Array.from({ length: 300 }, (_, i) => accepter.accept(message({ ttlMs: 1, id: `m${i}` }))),
  );
  await afterExpiry();
  expect(await expireUsers(store.scripts, keys, ["u1"])).toMatchObject({ written: 300 });
  await store.redis.config("RESETSTAT");
  await expireUsers(store.scripts, keys, ["u1"]);
  expect(await store.redis.info("commandstats")).not.toMatch(/cmdstat_get:/);
  const epoch = (await store.redis.hget(keys.user("u1"), "epoch")) ?? "";
  await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
  await expireUsers(store.scripts, keys, ["u1"]);
  expect(await store.redis.hget(keys.user("u1"), "acked")).toBe("301");
  expect(await store.redis.zscore(keys.due, "u1")).toBeNull();
});

test("a call has a bound, and says how many it did not reach", async () => {
  await fillLongInbox();
  const users = Array.from({ length: 40 }, (_, i) => `v${i}`);
  await Promise.all(users.map((userId) => accept(userId, [1])));
  await afterExpiry();
  // A megabyte each time.
  const again = Array.from({ length: 8 }, () => "u1");
  const { written, left } = await expireUsers(store.scripts, keys, [...again, ...users]);
  expect({ written, left }).toEqual({ written: 0, left: 40 });
  expect(await expireUsers(store.scripts, keys, users)).toEqual({ written: 40, left: 0 });
});
