// Tests the queue of the fallback, on a real Redis: retries, what waits, what a dead worker leaves behind.
// Guarantees: an entry is with one worker at a time; none is lost where a worker or its stream is.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import {
  claimFallback,
  forgetWorkers,
  giveBackFallback,
  promoteRetries,
  readFallback,
  readFallbackBacklog,
  type TakenEntry,
} from "./fallback-queue.js";
import { settleFallback, type Settlement, type SettleOptions } from "./settle-fallback.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.redis.config("SET", "maxmemory", "0");
  await store.clear();
});
afterAll(() => store.close());

const source = () => ({ keys: store.keys, priority: "normal" }) as const;
const once: SettleOptions = { attempts: 1, notes: [], deadLettersCap: 100 };
const taken: Settlement = { outcome: "taken", channel: "webhook" };

/** A message in its fallback stream; `n` numbers it. */
async function enter(n = 1, ttlMs = 3_600_000, letters = "on"): Promise<string> {
  const id = `m${n}`;
  const result = await store.accepter().accept(message({ id, ttlMs, notification: "{}" }));
  if (result.outcome !== "stored") throw new Error(result.outcome);
  const { seq, epoch, atMs } = result;
  const text = ["u1", seq, epoch, atMs, atMs + ttlMs, id, letters, "{}"].join("\t");
  await store.redis.xadd(store.keys.fallback("normal"), "*", "m", text, "n", "0");
  return id;
}

const take = (consumer = "w1", count = 10) => readFallback(store.scripts, source(), consumer, count);

async function takeOne(): Promise<TakenEntry> {
  const [entry] = await take();
  if (entry === undefined) throw new Error("nothing to take");
  return entry;
}

const settle = (entry: TakenEntry, settlement: Settlement, more: Partial<SettleOptions> = {}) =>
  settleFallback(store.scripts, entry, settlement, { ...once, ...more });
const promote = (limit = 100) => promoteRetries(store.scripts, store.keys, limit);
const queued = () => store.redis.xlen(store.keys.fallback("normal"));

describe("retries", () => {
  test("wait for their time, and go back to their stream with the attempts made", async () => {
    const id = await enter();
    await settle(await takeOne(), { outcome: "retry", delayMs: 60_000 }, { attempts: 3 });
    expect(await promote()).toMatchObject({ promoted: 0, waiting: { normal: 0 } });
    const [member = ""] = await store.redis.zrange(store.keys.retries, "0", "0");
    await store.redis.zadd(store.keys.retries, 1, member);
    expect(await promote()).toMatchObject({ promoted: 1, waiting: { high: 0, normal: 1, low: 0 } });
    expect(await takeOne()).toMatchObject({ attempts: 3, message: { id } });
    expect(await store.redis.zcard(store.keys.retries)).toBe(0);
  });

  test.each([
    ["oh", "high"],
    ["on", "normal"],
    ["al", "low"],
  ] as const)("%s goes to %s", async (policy, priority) => {
    await enter(1, 3_600_000, policy);
    await settle(await takeOne(), { outcome: "retry", delayMs: 0 });
    await promote();
    expect(await store.redis.xlen(store.keys.fallback(priority))).toBe(1);
  });

  test("each once, whoever promotes at the same time, some at a time", async () => {
    for (let n = 1; n <= 20; n++) await enter(n);
    for (const entry of await take("w1", 100)) await settle(entry, { outcome: "retry", delayMs: 0 });
    const promoted = await Promise.all(Array.from({ length: 6 }, () => promote(5)));
    expect(promoted.map((one) => one.promoted)).toEqual([5, 5, 5, 5, 0, 0]);
    expect(await queued()).toBe(20);
  });

  test("do not wait beyond the message's time", async () => {
    await enter(1, 5_000);
    const entry = await takeOne();
    await settle(entry, { outcome: "retry", delayMs: 60_000 });
    const [, score] = await store.redis.zrange(store.keys.retries, "0", "0", "WITHSCORES");
    expect(Number(score)).toBe(entry.message.expiresAtMs);
  });

  test("what cannot be read there does not stay in the way", async () => {
    await store.redis.zadd(store.keys.retries, 1, "nonsense", 2, "1\tu1\t1\te\t1\t2\tm1\ton\t{}");
    expect(await promote()).toMatchObject({ promoted: 2, waiting: { normal: 1 } });
  });
});

describe("what waits", () => {
  test("is what nobody has read: before there is a group, and after", async () => {
    await enter(1);
    await enter(2);
    expect((await promote()).waiting.normal).toBe(2);
    const [entry] = await take("w1", 1);
    expect((await promote()).waiting.normal).toBe(1);
    if (entry !== undefined) await settle(entry, taken);
    expect((await promote()).waiting.normal).toBe(1);
    expect(await readFallbackBacklog(store.redis, store.keys)).toMatchObject({
      queued: { high: 0, normal: 1, low: 0 },
      retries: 0,
    });
  });
});

describe("an entry that was left behind", () => {
  const claim = (consumer: string, idleMs: number) =>
    claimFallback(store.redis, source(), consumer, { idleMs, count: 10, isHeldHere: () => false });
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

  test("is given to another worker after a while, to one, and counts as an attempt", async () => {
    await enter();
    const entry = await takeOne();
    expect(await claim("w2", 60_000)).toEqual([]);
    await age(entry.entryId, 60_001);
    const claims = await Promise.all(["w2", "w3"].map((worker) => claim(worker, 60_000)));
    expect(claims.flat()).toMatchObject([{ entryId: entry.entryId, attempts: 1, abandoned: 1 }]);
  });

  test("not where it is under way right here", async () => {
    await enter();
    const { entryId } = await takeOne();
    await age(entryId, 60_001);
    const isHeldHere = (stream: string, id: string) =>
      stream === store.keys.fallback("normal") && id === entryId;
    expect(
      await claimFallback(store.redis, source(), "w1", { idleMs: 60_000, count: 10, isHeldHere }),
    ).toEqual([]);
  });

  test("given back it is there at once, as it was", async () => {
    await enter();
    const entry = await takeOne();
    await giveBackFallback(store.scripts, entry, "w1", 60_000);
    expect(await claim("w2", 60_000)).toMatchObject([{ entryId: entry.entryId, attempts: 0, abandoned: 0 }]);
  });

  test("not given back where another has taken it over meanwhile", async () => {
    await enter();
    const entry = await takeOne();
    await age(entry.entryId, 60_001);
    await claim("w2", 60_000);
    await giveBackFallback(store.scripts, entry, "w1", 60_000);
    expect(await claim("w3", 60_000)).toEqual([]);
  });

  test("without a group there is none", async () => {
    expect(await claim("w2", 1)).toEqual([]);
  });
});

describe("workers", () => {
  const names = async () =>
    JSON.stringify(await store.redis.xinfo("CONSUMERS", store.keys.fallback("normal"), "workers"));

  test("that hold nothing are forgotten; one that holds an entry is not", async () => {
    await enter(1);
    await enter(2);
    const [entry] = await take("free", 1);
    await take("busy", 1);
    if (entry !== undefined) await settle(entry, taken);
    expect(await forgetWorkers(store.scripts, source(), 3_600_000)).toBe(0);
    expect(await forgetWorkers(store.scripts, source(), 0, "other")).toBe(0);
    expect(await forgetWorkers(store.scripts, source(), 0)).toBe(1);
    expect(await names()).toContain("busy");
    expect(await names()).not.toContain("free");
    expect((await promote()).waiting.normal).toBe(0);
  });

  test("without a stream, and without a group, there are none", async () => {
    expect(await forgetWorkers(store.scripts, source(), 0)).toBe(0);
    await enter();
    expect(await forgetWorkers(store.scripts, source(), 0)).toBe(0);
  });
});
