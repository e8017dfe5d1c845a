// Tests the expire step.
// Guarantees: an end is written once, never for what was acked, and is final; the cursor moves over an ended prefix.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { decodeMessageRecord } from "../../protocol/messages/stored-message.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "./ack-users.js";
import { expireMessages, type ExpiredMessage, type NextExpiry } from "./expire-messages.js";
import { readMessage } from "./read-message.js";

let store: OpenStore;
let epoch: string;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

/** Messages "m1", "m2", … of u1; one with a time to live of 0 expires at once. */
async function accept(...ttlsMs: number[]): Promise<void> {
  const accepter = store.accepter();
  const results = await Promise.all(
    ttlsMs.map((ttlMs, i) => accepter.accept(message({ id: `m${i + 1}`, ttlMs }))),
  );
  const last = results.at(-1);
  epoch = last?.outcome === "stored" ? last.epoch : "";
}

const HOUR_MS = 3_600_000;
const named = (...seqs: number[]): ExpiredMessage[] => seqs.map((seq) => ({ seq, epoch, id: `m${seq}` }));
const expire = (messages: readonly ExpiredMessage[], next?: NextExpiry) =>
  expireMessages(store.scripts, store.keys, "u1", messages, next);
const ack = (seq: number) => ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq }], 1_000);
const endOf = async (id: string) =>
  decodeMessageRecord((await store.redis.get(store.keys.record(id))) ?? "").end;
const acked = async () => Number(await store.redis.hget(store.keys.user("u1"), "acked"));
const dueAt = () => store.redis.zscore(store.keys.due, "u1");
const stateOf = async (id: string) => (await readMessage(store.scripts, store.keys, id))?.state;

test("writes the end with Redis' time, and keeps the record's TTL", async () => {
  await accept(0);
  const ttlBefore = await store.redis.pexpiretime(store.keys.record("m1"));
  const before = await store.nowMs();
  expect(await expire(named(1))).toBe(1);
  const end = await endOf("m1");
  expect(end?.state).toBe("expired");
  expect(end?.atMs).toBeGreaterThanOrEqual(before);
  expect(await store.redis.pexpiretime(store.keys.record("m1"))).toBe(ttlBefore);
});

test("writes once: a second caller writes nothing", async () => {
  await accept(0, HOUR_MS);
  await expire(named(1));
  const before = await store.snapshot();
  expect(await expire(named(1))).toBe(0);
  expect(await store.snapshot()).toEqual(before);
});

test("never ends a message before its time, whatever the caller's clock says", async () => {
  await accept(HOUR_MS);
  const before = await store.snapshot();
  expect(await expire(named(1))).toBe(0);
  expect(await store.snapshot()).toEqual(before);
});

test("never ends what was acked: it stays delivered", async () => {
  await accept(0, HOUR_MS);
  await ack(1);
  expect(await expire(named(1))).toBe(0);
  expect(await endOf("m1")).toBeUndefined();
  expect(await stateOf("m1")).toBe("delivered");
});

test("is final: a later ack does not make it delivered", async () => {
  await accept(0, HOUR_MS);
  await expire(named(1));
  await ack(2);
  expect(await stateOf("m1")).toBe("expired");
  expect(await stateOf("m2")).toBe("delivered");
});

test("moves acked over an ended prefix, and stops at an open message", async () => {
  await accept(0, 0, HOUR_MS, 0);
  expect(await expire(named(1, 2, 4))).toBe(3);
  expect(await acked()).toBe(2);
  expect(await dueAt()).not.toBeNull();
  expect(await stateOf("m4")).toBe("expired");
});

test("when the open one in between is acked, the user leaves due", async () => {
  await accept(0, HOUR_MS, 0);
  await expire(named(1, 3));
  await ack(2);
  await expire(named(3));
  expect(await acked()).toBe(3);
  expect(await dueAt()).toBeNull();
});

test("when all has ended, the user leaves due", async () => {
  await accept(0, 0);
  await expire(named(1, 2));
  expect(await acked()).toBe(2);
  expect(await dueAt()).toBeNull();
});

test("a missing record that was kept beyond its message's TTL means an end long ago", async () => {
  await accept(0, HOUR_MS);
  await store.redis.hset(store.keys.user("u1"), "kept", 1);
  await store.redis.del(store.keys.record("m1"));
  expect(await expire(named(1))).toBe(0);
  expect(await acked()).toBe(1);
});

test("a record that belongs to another message by now counts as gone", async () => {
  await accept(0, HOUR_MS);
  await store.redis.del(store.keys.record("m1"));
  await store.accepter().accept(message({ id: "m1" }));
  expect(await expire(named(1))).toBe(0);
  expect(await acked()).toBe(1);
  expect(await endOf("m1")).toBeUndefined();
});

test("writes nothing without a hash", async () => {
  await accept(0);
  await store.redis.del(store.keys.user("u1"));
  const before = await store.snapshot();
  expect(await expire(named(1))).toBe(0);
  expect(await store.snapshot()).toEqual(before);
});

test("handles more than fit in one call in several", async () => {
  await accept(...Array.from({ length: 450 }, () => 0));
  expect(await expire(named(...Array.from({ length: 450 }, (_, i) => i + 1)))).toBe(450);
  expect(await acked()).toBe(450);
  expect(await dueAt()).toBeNull();
});

describe.each(["pushed", "failed"] as const)("a message that was %s", (state) => {
  test("keeps that end when it expires", async () => {
    await accept(0, HOUR_MS);
    await store.redis.append(store.keys.record("m1"), `\t${state} 5`);
    expect(await expire(named(1))).toBe(0);
    expect(await endOf("m1")).toMatchObject({ state, atMs: 5 });
    expect(await stateOf("m1")).toBe(state);
  });
});

describe("the next expiry, from a caller that has read everything open", () => {
  test("is recorded, and the user is checked by then", async () => {
    await accept(0, HOUR_MS);
    const atMs = (await store.nowMs()) + 2_000;
    await expire(named(1), { atMs, readSeq: 2, epoch });
    expect(await store.redis.hget(store.keys.user("u1"), "nextExpiry")).toBe(String(atMs));
    expect(Number(await dueAt())).toBeLessThanOrEqual(atMs);
  });

  test("is void if a message was stored since the reading began", async () => {
    await accept(0, HOUR_MS);
    const before = await store.redis.hget(store.keys.user("u1"), "nextExpiry");
    await expire(named(1), { atMs: 9_999_999_999_999, readSeq: 1, epoch });
    expect(await store.redis.hget(store.keys.user("u1"), "nextExpiry")).toBe(before);
  });

  test("also without any message that has ended", async () => {
    await accept(HOUR_MS);
    await store.redis.del(store.keys.due);
    const atMs = (await store.nowMs()) + HOUR_MS;
    expect(await expire([], { atMs, readSeq: 1, epoch })).toBe(0);
    expect(Number(await dueAt())).toBe(atMs);
  });
});
