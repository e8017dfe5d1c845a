// Tests that records outlive their open messages, on a real Redis.
// Guarantees: a record that is gone while its message is open is made again, once, and never for a message that has
// ended.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "./ack-users.js";
import { expireMessages } from "./expire-messages.js";
import { DEFAULT_RECORD_KEEP_MS, keepRecords } from "./keep-records.js";
import { readMessage } from "./read-message.js";

const HOUR_MS = 3_600_000;
const WEEK_MS = 7 * 24 * HOUR_MS;

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const record = (id: string) => store.keys.record(id);
const ttl = (id: string) => store.redis.pttl(record(id));
const keep = (minAgeMs = 0, ...userIds: string[]) =>
  keepRecords(
    store.scripts,
    store.keys,
    (userIds.length === 0 ? ["u1"] : userIds).map((userId) => ({ userId, minAgeMs })),
  );
const stateOf = async (id: string) => (await readMessage(store.scripts, store.keys, id))?.state;
const keptOf = (userId = "u1") => store.redis.hget(store.keys.user(userId), "kept");

async function accept(id: string, ttlMs = WEEK_MS, userId = "u1"): Promise<string> {
  const result = await store.accepter().accept(message({ id, ttlMs, userId }));
  if (result.outcome !== "stored") throw new Error(result.outcome);
  return result.epoch;
}
const ack = (epoch: string, seq: number) =>
  ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq }], 100);

/** As if a user's first messages, or all, had been accepted that much earlier. */
async function age(userId: string, ms: number, count = 1_000): Promise<void> {
  const inbox = store.keys.inbox(userId);
  const entries = await store.redis.xrange(inbox, "-", "+");
  // A stream's entry cannot be changed: all are written anew.
  await store.redis.del(inbox);
  for (const [i, [id, [, value = ""]]] of entries.entries()) {
    const parts = value.split("\t");
    if (i < count) parts[1] = String(Number(parts[1]) - ms);
    await store.redis.xadd(inbox, id, "m", parts.join("\t"));
  }
}
/** Removes a message's record, as if nobody had looked for a day. */
async function lose(id: string): Promise<void> {
  await age("u1", 26 * HOUR_MS);
  await store.redis.del(record(id));
}

describe("kept", () => {
  test("keeps open messages until a day after their expiry, acknowledged ones for the day that accept gave them", async () => {
    const epoch = await accept("m1");
    await accept("m2");
    await ack(epoch, 1);
    await keep();
    expect(await ttl("m1")).toBeLessThan(26 * HOUR_MS);
    expect(await ttl("m2")).toBeGreaterThan(WEEK_MS + 24.9 * HOUR_MS);
    expect(await keptOf()).toBe("2");
  });

  test("reads each message once; later ones at the next call", async () => {
    await accept("m1");
    await keep();
    await store.redis.pexpire(record("m1"), 1_000_000);
    await accept("m2");
    await keep();
    expect(await ttl("m1")).toBeLessThanOrEqual(1_000_000);
    expect(await ttl("m2")).toBeGreaterThan(WEEK_MS);
  });

  test("leaves messages younger than the caller says, and writes nothing", async () => {
    await accept("m1");
    const before = await store.snapshot();
    await keep(60_000);
    expect(await store.snapshot()).toEqual(before);
  });

  test("up to the first that is young", async () => {
    await accept("m1");
    await accept("m2");
    await age("u1", 120_000, 1);
    await keep(60_000);
    expect(await keptOf()).toBe("1");
    expect(await ttl("m1")).toBeGreaterThan(WEEK_MS);
    expect(await ttl("m2")).toBeLessThan(26 * HOUR_MS);
  });

  test("does not cut a longer TTL from an older release", async () => {
    await accept("m1");
    await store.redis.pexpire(record("m1"), 3 * WEEK_MS);
    await keep();
    expect(await ttl("m1")).toBeGreaterThan(2 * WEEK_MS);
  });

  test("handles any number and size in several calls, of several users", async () => {
    const data = JSON.stringify("x".repeat(20_000));
    const accepter = store.accepter();
    const ids = Array.from({ length: 60 }, (_, i) => `m${i}`);
    for (const userId of ["u1", "u2"]) {
      await Promise.all(
        ids.map((id) => accepter.accept(message({ userId, id: `${userId}_${id}`, ttlMs: WEEK_MS, data }))),
      );
    }
    await accept("small", WEEK_MS, "u3");
    await keep(0, "u1", "nobody", "u2", "u3");
    for (const id of ids) {
      expect(await ttl(`u1_${id}`), id).toBeGreaterThan(WEEK_MS);
      expect(await ttl(`u2_${id}`), id).toBeGreaterThan(WEEK_MS);
    }
    expect(await ttl("small")).toBeGreaterThan(WEEK_MS);
  });

  test("a user with keys of another type does not block others", async () => {
    await store.redis.set(store.keys.user("u1"), "no hash");
    await accept("m2", WEEK_MS, "u2");
    await store.redis.del(store.keys.inbox("u2"));
    await store.redis.set(store.keys.inbox("u2"), "no stream");
    await accept("m3", WEEK_MS, "u3");
    await keep(0, "u1", "u2", "u3");
    expect(await ttl("m3")).toBeGreaterThan(WEEK_MS);
  });

  test("a message that goes to the fallback at once is kept from the start: an acknowledgement does not end it", async () => {
    const given = { fallback: "always", notification: "{}", ttlMs: WEEK_MS } as const;
    await store.accepter().accept(message({ ...given, id: "m1" }));
    expect(await ttl("m1")).toBeGreaterThan(WEEK_MS + 24.9 * HOUR_MS);
  });
});

describe("a record that is gone while its message is open", () => {
  test("is made again, and its message ends like any other", async () => {
    const epoch = await accept("m1");
    await lose("m1");
    expect(await stateOf("m1")).toBeUndefined();
    await keep();
    expect(await stateOf("m1")).toBe("queued");
    expect(await ttl("m1")).toBeGreaterThan(WEEK_MS);
    await ack(epoch, 1);
    expect(await stateOf("m1")).toBe("delivered");
  });

  test("belongs to no other message: a repeat under the same key is reported, not swallowed", async () => {
    await accept("m1");
    await lose("m1");
    await keep();
    const again = await store.accepter().accept(message({ id: "m1", fingerprint: "a hash" }));
    expect(again).toMatchObject({ outcome: "exists", record: { fingerprint: "?", attempt: "?", seq: 1 } });
  });

  test("is not made if a later message has that id", async () => {
    await accept("m1");
    await lose("m1");
    await accept("m1");
    const later = await store.redis.get(record("m1"));
    await keep();
    expect(await store.redis.get(record("m1"))).toBe(later);
  });

  test("is made with its end if expired, by whoever finds it", async () => {
    const epoch = await accept("m1", 0);
    await accept("m2");
    await store.redis.del(record("m1"));
    const over = [{ seq: 1, epoch, id: "m1" }];
    expect(await expireMessages(store.scripts, store.keys, "u1", over)).toBe(1);
    expect(await stateOf("m1")).toBe("expired");
    expect(await ttl("m1")).toBeGreaterThan(24.9 * HOUR_MS);
    expect(await store.redis.hget(store.keys.user("u1"), "acked")).toBe("1");
    expect(await expireMessages(store.scripts, store.keys, "u1", over)).toBe(0);
  });

  test("is not made for what was kept and has ended: its record has outlived the end", async () => {
    const epoch = await accept("m1");
    await accept("m2", 0);
    await keep();
    await expireMessages(store.scripts, store.keys, "u1", [{ seq: 2, epoch, id: "m2" }]);
    await store.redis.del(record("m2"));
    await keep();
    expect(await expireMessages(store.scripts, store.keys, "u1", [{ seq: 2, epoch, id: "m2" }])).toBe(0);
    expect(await store.redis.exists(record("m2"))).toBe(0);
  });

  test("is not made for what an earlier look has ended", async () => {
    const epoch = await accept("m1");
    await accept("m2", 0);
    await lose("m2");
    await store.redis.hset(store.keys.user("u1"), "endsWrittenAt", (await store.nowMs()) + 1);
    await keep();
    expect(await expireMessages(store.scripts, store.keys, "u1", [{ seq: 2, epoch, id: "m2" }])).toBe(0);
    expect(await store.redis.exists(record("m2"))).toBe(0);
  });

  test("is not made yet for one that cannot be gone: it is looked for again, and later ones wait for it", async () => {
    await accept("m1");
    await accept("m2");
    const text = await store.redis.get(record("m1"));
    await store.redis.del(record("m1"));
    await keep();
    expect(await store.redis.exists(record("m1"))).toBe(0);
    expect(await keptOf()).toBeNull();
    await store.redis.set(record("m1"), text ?? "", "PX", HOUR_MS);
    await keep();
    expect(await ttl("m1")).toBeGreaterThan(WEEK_MS);
    expect(await ttl("m2")).toBeGreaterThan(WEEK_MS);
  });

  test("is not made for what was acknowledged", async () => {
    const epoch = await accept("m1");
    await accept("m2");
    await ack(epoch, 1);
    await lose("m1");
    await lose("m2");
    await keep();
    expect(await store.redis.exists(record("m1"))).toBe(0);
    expect(await stateOf("m2")).toBe("queued");
  });
});

test("keeps an end for a day from when it is written, however little time its record had left", async () => {
  const epoch = await accept("m1", 0);
  await accept("m2");
  await store.redis.pexpire(record("m1"), 60_000);
  await expireMessages(store.scripts, store.keys, "u1", [{ seq: 1, epoch, id: "m1" }]);
  expect(await ttl("m1")).toBeGreaterThan(24.9 * HOUR_MS);
});

test("a record lives a day, whatever its message's TTL; a key sent again within it is a duplicate", async () => {
  await accept("m1");
  expect(await ttl("m1")).toBeGreaterThan(DEFAULT_RECORD_KEEP_MS - 60_000);
  expect(await ttl("m1")).toBeLessThan(DEFAULT_RECORD_KEEP_MS + 60_000);
  await store.redis.pexpire(record("m1"), HOUR_MS);
  const again = await store.accepter().accept(message({ id: "m1", ttlMs: WEEK_MS }));
  expect(again.outcome).toBe("exists");
  expect(await ttl("m1")).toBeGreaterThan(24.9 * HOUR_MS);
});
