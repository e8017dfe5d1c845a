// Tests the queue of the fallback, on a real Redis: retries, what waits, what a dead worker leaves behind.
// Guarantees: an entry is with one worker at a time; none is lost where a worker or its stream is.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openFallback, taken, type OpenFallback } from "../../testing/stores/open-fallback.js";
import { claimFallback, forgetWorkers, giveBackFallback, readFallbackBacklog } from "./fallback-queue.js";

let store: OpenFallback;
beforeAll(async () => void (store = await openFallback()));
beforeEach(() => store.clear());
afterAll(() => store.close());

describe("retries", () => {
  test("wait for their time, and return to their stream with the number of attempts", async () => {
    const id = await store.enter();
    await store.settle(await store.takeOne(), { outcome: "retry", delayMs: 60_000 }, { attempts: 3 });
    expect(await store.promote()).toMatchObject({ promoted: 0, waiting: { normal: 0 } });
    const [member = ""] = await store.redis.zrange(store.keys.retries, "0", "0");
    await store.redis.zadd(store.keys.retries, 1, member);
    expect(await store.promote()).toMatchObject({ promoted: 1, waiting: { high: 0, normal: 1, low: 0 } });
    expect(await store.takeOne()).toMatchObject({ attempts: 3, message: { id } });
    expect(await store.redis.zcard(store.keys.retries)).toBe(0);
  });

  test.each([
    ["oh", "high"],
    ["on", "normal"],
    ["al", "low"],
  ] as const)("%s goes to %s", async (policy, priority) => {
    await store.enter(1, 3_600_000, policy);
    await store.settle(await store.takeOne(), { outcome: "retry", delayMs: 0 });
    await store.promote();
    expect(await store.redis.xlen(store.keys.fallback(priority))).toBe(1);
  });

  test("are promoted once, a bounded number at a time, even concurrently", async () => {
    for (let n = 1; n <= 20; n++) await store.enter(n);
    for (const entry of await store.take("w1", 100))
      await store.settle(entry, { outcome: "retry", delayMs: 0 });
    const promoted = await Promise.all(Array.from({ length: 6 }, () => store.promote(5)));
    expect(promoted.map((one) => one.promoted)).toEqual([5, 5, 5, 5, 0, 0]);
    expect(await store.queued()).toBe(20);
  });

  test("do not wait beyond the message's TTL", async () => {
    await store.enter(1, 5_000);
    const entry = await store.takeOne();
    await store.settle(entry, { outcome: "retry", delayMs: 60_000 });
    const [, score] = await store.redis.zrange(store.keys.retries, "0", "0", "WITHSCORES");
    expect(Number(score)).toBe(entry.message.expiresAtMs);
  });

  test("skip unreadable entries", async () => {
    await store.redis.zadd(store.keys.retries, 1, "nonsense", 2, "1\tu1\t1\te\t1\t2\tm1\ton\t{}");
    expect(await store.promote()).toMatchObject({ promoted: 2, waiting: { normal: 1 } });
  });
});

describe("waiting entries", () => {
  test("are those nobody has read: before there is a group, and after", async () => {
    await store.enter(1);
    await store.enter(2);
    expect((await store.promote()).waiting.normal).toBe(2);
    const [entry] = await store.take("w1", 1);
    expect((await store.promote()).waiting.normal).toBe(1);
    if (entry !== undefined) await store.settle(entry, taken);
    expect((await store.promote()).waiting.normal).toBe(1);
    expect(await readFallbackBacklog(store.redis, store.keys)).toMatchObject({
      queued: { high: 0, normal: 1, low: 0 },
      retries: 0,
    });
  });
});

describe("an entry that was left behind", () => {
  const claim = (consumer: string, idleMs: number) =>
    claimFallback(store.redis, store.source, consumer, { idleMs, count: 10, isHeldHere: () => false });
  /** As if it had been held for that long. */
  const age = (entryId: string, idleMs: number) =>
    store.redis.call(
      "XCLAIM",
      store.keys.fallback("normal"),
      "workers",
      "w1",
      "0",
      entryId,
      "IDLE",
      String(idleMs),
      "JUSTID",
    );

  test("is given to one other worker after a while, and counts as an attempt", async () => {
    await store.enter();
    const entry = await store.takeOne();
    expect(await claim("w2", 60_000)).toEqual([]);
    await age(entry.entryId, 60_001);
    const claims = await Promise.all(["w2", "w3"].map((worker) => claim(worker, 60_000)));
    expect(claims.flat()).toMatchObject([{ entryId: entry.entryId, attempts: 1, abandoned: 1 }]);
  });

  test("is not if this process is still working on it", async () => {
    await store.enter();
    const { entryId } = await store.takeOne();
    await age(entryId, 60_001);
    const isHeldHere = (stream: string, id: string) =>
      stream === store.keys.fallback("normal") && id === entryId;
    expect(
      await claimFallback(store.redis, store.source, "w1", { idleMs: 60_000, count: 10, isHeldHere }),
    ).toEqual([]);
  });

  test("is available at once when given back, unchanged", async () => {
    await store.enter();
    const entry = await store.takeOne();
    await giveBackFallback(store.scripts, entry, "w1", 60_000);
    expect(await claim("w2", 60_000)).toMatchObject([{ entryId: entry.entryId, attempts: 0, abandoned: 0 }]);
  });

  test("is not given back if another has taken it over meanwhile", async () => {
    await store.enter();
    const entry = await store.takeOne();
    await age(entry.entryId, 60_001);
    await claim("w2", 60_000);
    await giveBackFallback(store.scripts, entry, "w1", 60_000);
    expect(await claim("w3", 60_000)).toEqual([]);
  });

  test("does not exist without a group", async () => {
    expect(await claim("w2", 1)).toEqual([]);
  });
});

describe("workers", () => {
  const names = async () =>
    JSON.stringify(await store.redis.xinfo("CONSUMERS", store.keys.fallback("normal"), "workers"));

  test("are removed if they hold nothing, and kept if they hold an entry", async () => {
    await store.enter(1);
    await store.enter(2);
    const [entry] = await store.take("free", 1);
    await store.take("busy", 1);
    if (entry !== undefined) await store.settle(entry, taken);
    expect(await forgetWorkers(store.scripts, store.source, 3_600_000)).toBe(0);
    expect(await forgetWorkers(store.scripts, store.source, 0, "other")).toBe(0);
    expect(await forgetWorkers(store.scripts, store.source, 0)).toBe(1);
    expect(await names()).toContain("busy");
    expect(await names()).not.toContain("free");
    expect((await store.promote()).waiting.normal).toBe(0);
  });

  test("do not exist without a stream, or without a group", async () => {
    expect(await forgetWorkers(store.scripts, store.source, 0)).toBe(0);
    await store.enter();
    expect(await forgetWorkers(store.scripts, store.source, 0)).toBe(0);
  });
});
