// Tests the accept step: a message is numbered and stored in one call, once, within bounds.
// Guarantees: each sentence of the design about storing and refusing a message fails here when its line is removed.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  decodeInboxMessage,
  decodeMessageRecord,
  decodeReadyMessage,
} from "../../protocol/messages/stored-message.js";
import { keepRecords } from "../inbox/keep-records.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { ackUsers } from "../inbox/ack-users.js";
import type { AcceptResult } from "./accept-answers.js";
import type { MessageAccepter, MessageToAccept } from "./accept-batch.js";
import { readInbox } from "../inbox/read-inbox.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

/** In one turn of the event loop, and so in one call. */
function accept(accepter: MessageAccepter, ...messages: MessageToAccept[]): Promise<AcceptResult[]> {
  return Promise.all(messages.map((one) => accepter.accept(one)));
}

function valuesOf(snapshot: Readonly<Record<string, { readonly value: unknown }>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(snapshot).map(([key, { value }]) => [key, value]));
}

const page = { maxEntries: 1_000, maxBytes: 1_000_000 };

describe("storing", () => {
  test("the first message of a user gets seq 1 in a new epoch, the next one 2 in the same", async () => {
    const accepter = store.accepter();
    const before = await store.nowMs();
    const [first, second, others] = await accept(accepter, message(), message(), message({ userId: "u2" }));
    expect(first).toMatchObject({ outcome: "stored", seq: 1, epoch: expect.stringMatching(/^[\w-]{8}\.0$/) });
    expect(second).toEqual({ ...first, seq: 2 });
    expect(others).toMatchObject({ outcome: "stored", seq: 1 });
    const atMs = first?.outcome === "stored" ? first.atMs : 0;
    expect(atMs).toBeGreaterThanOrEqual(before);
    expect(atMs).toBeLessThanOrEqual(await store.nowMs());
  });

  test("inbox, record and ready hold the message as it was given, by Redis' clock", async () => {
    const given = message({
      ttlMs: 60_000,
      fallback: "always",
      priority: "high",
      notification: `{"title":"t"}`,
      data: `{"text":"a\\tb\\nc"}`,
      fingerprint: "print",
      attempt: "try",
    });
    const [result] = await accept(store.accepter(), given);
    if (result?.outcome !== "stored") throw new Error("not stored");
    const { epoch, atMs } = result;
    const { id, fallback, priority, notification, data } = given;
    const stored = {
      seq: 1,
      epoch,
      atMs,
      expiresAtMs: atMs + 60_000,
      id,
      fallback,
      priority,
      notification,
      data,
    };
    const { keys, redis } = store;
    const [inboxEntry] = await redis.xrange(keys.inbox("u1"), "-", "+");
    expect(inboxEntry?.[0]).toBe("1-0");
    expect(decodeInboxMessage(1, inboxEntry?.[1][1] ?? "")).toEqual(stored);
    const [readyEntry] = await redis.xrange(keys.ready, "-", "+");
    expect(decodeReadyMessage(readyEntry?.[1][1] ?? "")).toEqual({ userId: "u1", ...stored });
    expect(decodeMessageRecord((await redis.get(keys.record(id))) ?? "")).toEqual({
      seq: 1,
      epoch,
      atMs,
      expiresAtMs: atMs + 60_000,
      userId: "u1",
      fingerprint: "print",
      attempt: "try",
      end: undefined,
    });
  });

  test.each([
    ["plain ones", []],
    ["among others", [{ fingerprint: "print", attempt: "try" }, { ttlMs: 1_000 }]],
    ["beside one that goes to the fallback at once", [{ fallback: "always", notification: "{}" }]],
  ] as const)("messages without idempotency key are stored alike: %s", async (_what, others) => {
    const { keys, redis } = store;
    const plain = [message({ userId: "a" }), message({ userId: "b" }), message({ userId: "a" })];
    const further = others.map((parts) => message({ userId: "c", ...parts }));
    const results = await accept(store.accepter(), ...plain, ...further);
    for (const [i, { id, userId, ttlMs, data }] of plain.entries()) {
      const result = results[i];
      if (result?.outcome !== "stored") throw new Error("not stored");
      const { seq, epoch, atMs } = result;
      const expiresAtMs = atMs + ttlMs;
      expect(decodeMessageRecord((await redis.get(keys.record(id))) ?? "")).toMatchObject({
        seq,
        epoch,
        atMs,
        expiresAtMs,
        userId,
        fingerprint: "-",
        attempt: "-",
        end: undefined,
      });
      const [entry] = await redis.xrange(keys.inbox(userId), `${seq}-0`, `${seq}-0`);
      expect(decodeInboxMessage(seq, entry?.[1][1] ?? "")).toMatchObject({ id, expiresAtMs, data });
      expect(Number(await redis.zscore(keys.due, userId))).toBe(atMs + 10_000);
    }
    expect(results.slice(plain.length).map(({ outcome }) => outcome)).toEqual(further.map(() => "stored"));
  });

  test("due holds the user at the ack timeout, or at the message's expiry if that is sooner", async () => {
    const { keys, redis } = store;
    const accepter = store.accepter({ ackTimeoutMs: 10_000 });
    const [first] = await accept(accepter, message());
    const at = first?.outcome === "stored" ? first.atMs : 0;
    expect(Number(await redis.zscore(keys.due, "u1"))).toBe(at + 10_000);
    const [second] = await accept(accepter, message({ ttlMs: 1_000 }));
    const secondAt = second?.outcome === "stored" ? second.atMs : 0;
    expect(Number(await redis.zscore(keys.due, "u1"))).toBe(secondAt + 1_000);
  });

  test("a later message never postpones the next wake", async () => {
    const { keys, redis } = store;
    await accept(store.accepter({ ackTimeoutMs: 1_000 }), message());
    const due = await redis.zscore(keys.due, "u1");
    await accept(store.accepter({ ackTimeoutMs: 60_000 }), message());
    expect(await redis.zscore(keys.due, "u1")).toBe(due);
  });

  test("a user's hash outlives its inbox, which outlives the record, which outlives the message", async () => {
    const { keys, redis } = store;
    const given = message({ ttlMs: 2_592_000_000 });
    await accept(store.accepter(), given);
    const [user, inbox, record] = await Promise.all(
      [keys.user("u1"), keys.inbox("u1"), keys.record(given.id)].map((key) => redis.pttl(key)),
    );
    await keepRecords(store.scripts, keys, [{ userId: "u1", minAgeMs: 0 }]);
    const kept = await redis.pttl(keys.record(given.id));
    expect(record).toBeGreaterThanOrEqual(24 * 3_600_000);
    expect(kept).toBeGreaterThanOrEqual(2_592_000_000 + 24 * 3_600_000);
    expect(inbox).toBeGreaterThan(kept);
    expect(user).toBeGreaterThan(inbox ?? Infinity);
  });

  test("nothing stored stays forever: every key of a user expires", async () => {
    const { keys, redis } = store;
    const given = message();
    await accept(store.accepter(), given);
    for (const key of [keys.user("u1"), keys.inbox("u1"), keys.record(given.id)]) {
      expect(await redis.pttl(key), key).toBeGreaterThan(0);
    }
  });

  test("the next message extends keys that are near their end", async () => {
    const { keys, redis } = store;
    const accepter = store.accepter();
    await accept(accepter, message());
    await redis.hset(keys.user("u1"), "keepUntil", String((await store.nowMs()) + 5_000));
    await redis.pexpire(keys.user("u1"), 6_000);
    await redis.pexpire(keys.inbox("u1"), 5_000);
    await accept(accepter, message());
    expect(await redis.pttl(keys.inbox("u1"))).toBeGreaterThan(2_592_000_000);
    expect(await redis.pttl(keys.user("u1"))).toBeGreaterThan(2_592_000_000);
  });
});

describe("the same message twice", () => {
  test("is one message, one seq, answered with its record; only TTLs have changed", async () => {
    const { keys, redis } = store;
    const accepter = store.accepter();
    const given = message({ fingerprint: "print", attempt: "first" });
    const [first] = await accept(accepter, given);
    await redis.pexpire(keys.record(given.id), 5_000);
    const before = valuesOf(await store.snapshot());
    const [second] = await accept(accepter, { ...given, attempt: "second" });
    expect(second).toMatchObject({
      outcome: "exists",
      record: {
        seq: 1,
        epoch: first?.outcome === "stored" && first.epoch,
        fingerprint: "print",
        attempt: "first",
      },
    });
    expect(valuesOf(await store.snapshot())).toEqual(before);
    expect(await redis.pttl(keys.record(given.id))).toBeGreaterThan(24 * 3_600_000);
  });

  test("does not shorten the record's TTL", async () => {
    const { keys, redis } = store;
    const given = message({ ttlMs: 864_000_000 });
    await accept(store.accepter(), given);
    await redis.pexpire(keys.record(given.id), 864_100_000);
    await accept(store.accepter(), { ...given, ttlMs: 1_000 });
    expect(await redis.pttl(keys.record(given.id))).toBeGreaterThan(864_000_000);
  });

  test("has a record that does not outlive its user's hash", async () => {
    const { keys, redis } = store;
    const given = message({ ttlMs: 2_592_000_000 });
    await accept(store.accepter(), given);
    // The state after 29 days.
    await redis.hset(keys.user("u1"), "keepUntil", String((await store.nowMs()) + 5 * 86_400_000));
    await redis.pexpire(keys.user("u1"), 6 * 86_400_000);
    await redis.pexpire(keys.inbox("u1"), 5 * 86_400_000);
    await accept(store.accepter(), given);
    expect(await redis.pttl(keys.user("u1"))).toBeGreaterThan(await redis.pttl(keys.record(given.id)));
  });

  test("is found within one call, too", async () => {
    const given = message({ attempt: "first" });
    const [first, second, third] = await accept(
      store.accepter(),
      given,
      { ...given, attempt: "second" },
      message(),
    );
    expect(first).toMatchObject({ outcome: "stored", seq: 1 });
    expect(second).toMatchObject({ outcome: "exists", record: { seq: 1, attempt: "first" } });
    expect(third).toMatchObject({ outcome: "stored", seq: 2 });
    expect(await store.redis.xlen(store.keys.ready)).toBe(2);
  });

  test("is found after its end, which the answer names", async () => {
    const { keys, redis } = store;
    const given = message();
    await accept(store.accepter(), given);
    await redis.append(keys.record(given.id), "\texpired 5");
    const [again] = await accept(store.accepter(), given);
    expect(again).toMatchObject({ outcome: "exists", record: { end: { state: "expired", atMs: 5 } } });
  });
});

describe("bounds", () => {
  test("a full inbox refuses the new message at once and changes nothing", async () => {
    const accepter = store.accepter({ inboxCap: 2 });
    await accept(accepter, message(), message());
    const before = await store.snapshot();
    expect(await accept(accepter, message())).toEqual([{ outcome: "inbox-full" }]);
    expect(await store.snapshot()).toEqual(before);
  });

  test("within one call: what still fits is stored, and other users are not affected", async () => {
    const accepter = store.accepter({ inboxCap: 2 });
    const results = await accept(accepter, message(), message(), message(), message({ userId: "u2" }));
    expect(results.map(({ outcome }) => outcome)).toEqual(["stored", "stored", "inbox-full", "stored"]);
    expect((await readInbox(store.scripts, store.keys, "u1", 0, page)).messages).toHaveLength(2);
  });

  test("a full inbox still answers for what it holds", async () => {
    const accepter = store.accepter({ inboxCap: 1 });
    const given = message();
    await accept(accepter, given);
    expect(await accept(accepter, given)).toMatchObject([{ outcome: "exists", record: { seq: 1 } }]);
  });

  test("counts only unacknowledged messages", async () => {
    const accepter = store.accepter({ inboxCap: 1 });
    const [first] = await accept(accepter, message());
    const epoch = first?.outcome === "stored" ? first.epoch : "";
    await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq: 1 }], 100);
    expect(await accept(accepter, message())).toMatchObject([{ outcome: "stored", seq: 2 }]);
  });

  test("with too large a backlog for dispatchers: busy, and nothing is changed", async () => {
    const accepter = store.accepter({ readyCap: 2 });
    await accept(accepter, message(), message());
    const before = await store.snapshot();
    const refused = accept(accepter, message({ userId: "new" }), message());
    await expect(refused).rejects.toMatchObject({
      code: "PETREL_UNAVAILABLE",
      retryable: true,
      retryAfterSeconds: 5,
    });
    expect(await store.snapshot()).toEqual(before);
  });

  test("does not affect another partition", async () => {
    const accepter = store.accepter({ readyCap: 1 });
    await accept(accepter, message());
    const [busy, stored] = await Promise.allSettled([
      accepter.accept(message()),
      accepter.accept(message({ userId: "u9", partition: 1 })),
    ]);
    expect(busy.status).toBe("rejected");
    expect(stored).toMatchObject({ value: { outcome: "stored", seq: 1 } });
  });
});
