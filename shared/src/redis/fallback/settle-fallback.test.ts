// Tests how entries of the fallback are settled, on a real Redis.
// Guarantees: an entry is in one place at any time, and is settled once; an end is written once, and never over
// another.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { decodeMessageRecord } from "../../protocol/messages/stored-message.js";
import { openFallback, taken, type OpenFallback } from "../../testing/stores/open-fallback.js";
import { ackUsers } from "../inbox/ack-users.js";
import { readAttempts, readMessage } from "../inbox/read-message.js";
import { readCircumstances } from "../inbox/read-circumstances.js";
import type { Settlement } from "./settle-fallback.js";

let store: OpenFallback;
beforeAll(async () => void (store = await openFallback()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const failed: Settlement = { outcome: "failed", cause: "rejected", reason: "no" };

const endOf = async (id: string) =>
  decodeMessageRecord((await store.redis.get(store.keys.record(id))) ?? "").end;
const letters = (cause: "rejected" | "misconfigured" = "rejected") =>
  store.redis.xrange(store.keys.deadLetters(cause), "-", "+");

describe("settled", () => {
  test("taken: the record ends pushed, with the channel; the entry is removed; the record lives a day longer than its message", async () => {
    const id = await store.enter();
    const before = await store.nowMs();
    expect(await store.settle(await store.takeOne(), taken)).toEqual({ outcome: "settled", evicted: 0 });
    const end = await endOf(id);
    expect(end).toMatchObject({ state: "pushed", word: "webhook", isFinal: false });
    expect(end?.atMs).toBeGreaterThanOrEqual(before);
    expect(await store.redis.pexpiretime(store.keys.record(id))).toBeGreaterThan(
      before + 25 * 3_600_000 + 3_500_000,
    );
    expect(await store.queued()).toBe(0);
  });

  test("dropped: the entry is removed, and nothing else has changed", async () => {
    const id = await store.enter();
    const entry = await store.takeOne();
    const record = await store.redis.get(store.keys.record(id));
    await store.settle(entry, { outcome: "dropped" });
    expect(await store.redis.get(store.keys.record(id))).toBe(record);
    expect(await store.queued()).toBe(0);
  });

  test("once: the second time it is gone, and nothing changes", async () => {
    await store.enter();
    const entry = await store.takeOne();
    await store.settle(entry, { outcome: "retry", delayMs: 60_000 });
    const before = await store.snapshot();
    for (const again of [failed, { outcome: "dropped" }, { outcome: "retry", delayMs: 5 }] as const) {
      expect(await store.settle(entry, again, { notes: [{ channel: "c", outcome: "retry" }] })).toMatchObject(
        {
          outcome: "gone",
        },
      );
    }
    expect(await store.snapshot()).toEqual(before);
  });

  test("records what a channel took even then: a retry does not send it again", async () => {
    const id = await store.enter();
    const entry = await store.takeOne();
    await store.settle(entry, { outcome: "retry", delayMs: 0 });
    expect(await store.settle(entry, taken)).toMatchObject({ outcome: "gone" });
    expect((await readMessage(store.scripts, store.keys, id))?.state).toBe("pushed");
  });

  test("an entry that was never delivered to a worker cannot be settled", async () => {
    await store.enter();
    const entry = await store.takeOne();
    await store.redis.xgroup("DESTROY", store.keys.fallback("normal"), "workers");
    expect(await store.settle(entry, failed)).toMatchObject({ outcome: "gone" });
    expect(await store.queued()).toBe(1);
  });

  test.each(["expired 5", "cancelled 5", "pushed 5 other", "failed 5 misconfigured"])(
    "another end stays: %s",
    async (end) => {
      const id = await store.enter();
      const entry = await store.takeOne();
      await store.redis.append(store.keys.record(id), `\t${end}`);
      const record = await store.redis.get(store.keys.record(id));
      expect(await store.settle(entry, failed)).toMatchObject({ outcome: "ended" });
      expect(await store.redis.get(store.keys.record(id))).toBe(record);
      expect(await letters()).toEqual([]);
      expect(await store.queued()).toBe(0);
    },
  );

  test("taken after another end: that end stays", async () => {
    const id = await store.enter();
    const entry = await store.takeOne();
    await store.redis.append(store.keys.record(id), "\texpired 5");
    await store.settle(entry, taken);
    expect(await store.redis.get(store.keys.record(id))).toMatch(/\texpired 5$/);
  });
});

describe("failed", () => {
  test("the record ends with the cause, and the dead letter holds all that a replay needs", async () => {
    const id = await store.enter();
    const entry = await store.takeOne();
    const [[, fields] = []] = await store.redis.xrange(store.keys.fallback("normal"), "-", "+");
    await store.settle(entry, { ...failed, cause: "misconfigured" }, { attempts: 7 });
    expect(await endOf(id)).toMatchObject({ state: "failed", word: "misconfigured" });
    expect((await letters("misconfigured"))[0]?.[1]).toEqual(["m", fields?.[1], "n", "7", "r", "no"]);
  });

  test("acknowledged meanwhile: delivered, and no dead letter", async () => {
    const id = await store.enter();
    const entry = await store.takeOne();
    await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch: entry.message.epoch, seq: 1 }], 100);
    expect(await store.settle(entry, failed)).toMatchObject({ outcome: "ended" });
    expect(await endOf(id)).toBeUndefined();
    expect(await letters()).toEqual([]);
  });

  test("of a former history of its user: it is removed, and an ack in the new one does not count", async () => {
    const id = await store.enter();
    const entry = await store.takeOne();
    await store.redis.hset(store.keys.user("u1"), "epoch", "foreign.0", "acked", "1");
    expect(await store.settle(entry, failed)).toMatchObject({ outcome: "gone" });
    expect(await endOf(id)).toBeUndefined();
    expect(await letters()).toEqual([]);
    expect(await store.queued()).toBe(0);
  });

  test("its record is gone: it ended long ago and leaves no dead letter", async () => {
    const id = await store.enter();
    const entry = await store.takeOne();
    await store.redis.del(store.keys.record(id));
    expect(await store.settle(entry, failed, { notes: [{ channel: "c", outcome: "failed" }] })).toMatchObject(
      {
        outcome: "ended",
      },
    );
    expect(await store.redis.keys("*attempts*")).toEqual([]);
  });

  test("beyond the cap the oldest are removed and counted", async () => {
    for (let n = 1; n <= 5; n++) await store.enter(n);
    const entries = await store.take();
    const evicted: number[] = [];
    for (const entry of entries)
      evicted.push((await store.settle(entry, failed, { deadLettersCap: 3 })).evicted);
    expect(evicted).toEqual([0, 0, 0, 1, 1]);
    expect((await letters()).map(([, fields]) => fields[1]?.split("\t")[5])).toEqual(["m3", "m4", "m5"]);
  });
});

describe("an entry whose message had ended", () => {
  test("is recorded apart from the attempts; its record lives no longer for it", async () => {
    const id = await store.enter();
    const entry = await store.takeOne();
    await store.redis.pexpire(store.keys.record(id), 60_000);
    const skip = { state: "delivered", channel: "apns" } as const;
    expect(await store.settle(entry, { outcome: "unneeded", skip })).toMatchObject({ outcome: "settled" });
    expect(await store.redis.pttl(store.keys.record(id))).toBeLessThanOrEqual(60_000);
    expect(await store.redis.pttl(store.keys.attempts(id))).toBeLessThanOrEqual(60_000);
    expect(await readAttempts(store.redis, store.keys, id)).toEqual([]);
    const place = { id, userId: "u1", seq: 1 };
    const { skips } = await readCircumstances(store.scripts, store.keys, place);
    expect(skips).toEqual([{ ...skip, atMs: expect.any(Number) }]);
  });
});

describe("attempts", () => {
  test("are kept with their time, as long as the record, the last fifty", async () => {
    const id = await store.enter();
    const before = await store.nowMs();
    for (let n = 1; n <= 60; n++) {
      const entry = await store.takeOne();
      await store.settle(
        entry,
        { outcome: "retry", delayMs: 0 },
        { notes: [{ channel: "webhook", outcome: "retry", reason: `try "${n}"` }] },
      );
      await store.promote();
    }
    const attempts = await readAttempts(store.redis, store.keys, id);
    expect(attempts).toHaveLength(50);
    expect(attempts.at(-1)).toMatchObject({ channel: "webhook", outcome: "retry", reason: 'try "60"' });
    expect(attempts[0]?.reason).toBe('try "11"');
    expect(attempts[0]?.atMs).toBeGreaterThanOrEqual(before);
    const [list, record] = await Promise.all([
      store.redis.pexpiretime(store.keys.attempts(id)),
      store.redis.pexpiretime(store.keys.record(id)),
    ]);
    expect(Math.abs(list - record)).toBeLessThan(1_000);
  });
});

test("keys of another type lose nothing: the attempt is not recorded, and nothing is half settled", async () => {
  const id = await store.enter();
  const entry = await store.takeOne();
  await store.redis.set(store.keys.attempts(id), "x");
  await store.redis.set(store.keys.retries, "x");
  const retry = { outcome: "retry", delayMs: 0 } as const;
  const notes = [{ channel: "c", outcome: "retry" }] as const;
  await expect(store.settle(entry, retry, { notes })).rejects.toThrow(/WRONGTYPE/);
  expect(await store.queued()).toBe(1);
  await store.redis.del(store.keys.retries);
  await store.settle(entry, retry, { notes });
  expect(await store.queued()).toBe(0);
  expect(await store.redis.zcard(store.keys.retries)).toBe(1);
});

test("settles an entry and promotes a retry even when memory is full", async () => {
  for (let n = 1; n <= 4; n++) await store.enter(n);
  const [first, second, third, fourth] = await store.take();
  if (first === undefined || second === undefined || third === undefined || fourth === undefined) {
    throw new Error("not all were taken");
  }
  await store.redis.config("SET", "maxmemory", "1");
  await store.settle(first, taken, { notes: [{ channel: "webhook", outcome: "taken" }] });
  await store.settle(second, { outcome: "retry", delayMs: 0 });
  await store.settle(third, failed);
  await store.settle(fourth, { outcome: "dropped" });
  expect(await store.promote()).toMatchObject({ promoted: 1 });
  expect(await store.take("w2")).toHaveLength(1);
  expect(await endOf("m1")).toMatchObject({ state: "pushed" });
  expect(await letters()).toHaveLength(1);
});
