// Tests what becomes of a message when its time comes.
// Guarantees covered: never early; stored once, numbered then; its time to live counts from its time; full, limited and
// expired ends as documented; a stale owner changes nothing; a broken recipient keeps nobody else.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { idOfSchedule } from "../../protocol/messages/scheduled-message.js";
import { decodeInboxMessage, decodeReadyMessage } from "../../protocol/messages/stored-message.js";
import { message, openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { readMessage } from "../inbox/read-message.js";
import { connectRoute } from "../nodes/route-store.js";
import { readTopic } from "../topics/read-topic.js";
import { cancelSchedule } from "./cancel-schedule.js";
import { listSchedules } from "./list-schedules.js";
import {
  findDueSchedules,
  isOfTopic,
  promoteMessages,
  promotePublications,
  type PromoteRules,
  type Promoted,
} from "./promote-schedules.js";
import { MessageScheduler, type MessageToSchedule } from "./schedule-messages.js";

let store: OpenStore;
let scheduler: MessageScheduler;
let token: string;
beforeAll(async () => {
  store = await openStore();
  scheduler = new MessageScheduler({ ...store, maxInFlight: 1, cap: 10_000 });
});
beforeEach(async () => {
  await store.clear();
  token = await store.own();
});
afterAll(() => store.close());

const HOUR_MS = 3_600_000;
const rules: PromoteRules = {
  ackTimeoutMs: 10_000,
  inboxCap: 100,
  readyCap: 1_000,
  fallbackCap: 1_000,
  recordKeepMs: 25 * HOUR_MS,
  receiveLimit: 0,
  deadLettersCap: 100,
};
const news = {
  topic: "news",
  partition: 0,
  ttlMs: HOUR_MS,
  history: { size: 10, ageMs: HOUR_MS, bytes: 10_000 },
  record: { fingerprint: "f", attempt: "a" },
  from: "",
  data: `"hello"`,
} as const;

/** Stored with a time ahead, then moved to `agoMs` ago, as if that time had passed. */
async function schedulePast(parts: Partial<MessageToSchedule> & { readonly id: string }, agoMs = 1_000) {
  const { redis, keys } = store;
  const deliverAtMs = (await store.nowMs()) + HOUR_MS;
  await scheduler.schedule({ ...message(), ...parts, deliverAtMs });
  const record = (await redis.get(keys.record(parts.id))) ?? "";
  const [recipient = "", order = ""] = [record.split("\t")[4], record.split("\t")[7]?.split(" ")[2]];
  const movedMs = deliverAtMs - HOUR_MS - agoMs;
  const moved = record.split("\t");
  moved[3] = String(Number(moved[3]) - HOUR_MS - agoMs);
  moved[7] = `scheduled ${movedMs} ${order}`;
  await redis.set(keys.record(parts.id), moved.join("\t"));
  await redis.zadd(keys.scheduled, "XX", movedMs, `${order}${parts.id}\t${recipient}`);
  await redis.zadd(keys.schedulesOf(recipient), "XX", movedMs, `${order}${parts.id}`);
  return movedMs;
}

async function promoteDue(more: Partial<PromoteRules> = {}): Promise<readonly Promoted[]> {
  const { members } = await findDueSchedules(store.scripts, store.keys, 100);
  const results: Promoted[] = [];
  for (const [some, promote] of [
    [members.filter((one) => !isOfTopic(one)), promoteMessages],
    [members.filter(isOfTopic), promotePublications],
  ] as const) {
    if (some.length === 0) continue;
    const promotion = await promote(store.scripts, store.keys, token, { ...rules, ...more }, some);
    if (typeof promotion === "string") throw new Error(promotion);
    results.push(...promotion.results);
  }
  return results;
}

const outcomes = (results: readonly Promoted[]): string[] => results.map(({ outcome }) => outcome);
const stateOf = async (id: string) => (await readMessage(store.scripts, store.keys, id))?.state;
const idsIn = async (userId: string): Promise<string[]> =>
  (await store.redis.xrange(store.keys.inbox(userId), "-", "+")).map(
    ([id, fields]) => decodeInboxMessage(Number.parseInt(id, 10), fields[1] ?? "").id,
  );

/** Nothing of it waits any more. */
async function expectGone(recipient = "u1"): Promise<void> {
  expect(await store.redis.exists(store.keys.scheduled, store.keys.schedulesOf(recipient))).toBe(0);
}

describe("a message whose time has come", () => {
  test("is accepted: numbered then, and known as accepted when it was sent", async () => {
    const { redis, keys } = store;
    const deliverAtMs = await schedulePast({ id: "m_one", ttlMs: 60_000, data: `{"a":1}` });
    const acceptedAtMs = (await readMessage(store.scripts, keys, "m_one"))!.record.atMs;
    const [one] = await promoteDue();
    expect(one).toMatchObject({ outcome: "promoted" });
    expect(one?.latenessMs).toBeGreaterThanOrEqual(1_000);
    const entry = (await redis.xrange(keys.inbox("u1"), "-", "+"))[0]?.[1][1] ?? "";
    const stored = decodeInboxMessage(1, entry);
    expect(stored).toMatchObject({ id: "m_one", data: `{"a":1}`, expiresAtMs: deliverAtMs + 60_000 });
    expect(stored.atMs).toBeGreaterThanOrEqual(deliverAtMs + 1_000);
    expect(await readMessage(store.scripts, keys, "m_one")).toMatchObject({
      state: "queued",
      record: { seq: 1, userId: "u1", atMs: acceptedAtMs, expiresAtMs: deliverAtMs + 60_000 },
    });
    expect(await redis.zscore(keys.due, "u1")).not.toBeNull();
    await expectGone();
  });

  test("goes to the nodes that hold its user, else to ready", async () => {
    const { scripts, keys, redis } = store;
    const heard = await store.listen(`${keys.channel}n1`);
    await connectRoute(
      scripts,
      keys,
      { userId: "u1", node: "n1", connection: "c", platform: "web" },
      routeLimits,
    );
    await schedulePast({ id: "m_on" });
    await schedulePast({ id: "m_off", userId: "u2" });
    await promoteDue();
    await expect.poll(() => heard.length).toBe(1);
    expect(heard[0]).toContain("m_on");
    const ready = (await redis.xrange(keys.ready, "-", "+")).map(([, [, value]]) =>
      decodeReadyMessage(value ?? ""),
    );
    expect(ready.map(({ id }) => id)).toEqual(["m_off"]);
  });

  test("follows the order of time, and of sending among equal times", async () => {
    for (const [id, agoMs] of [
      ["m_4", 1_000],
      ["m_1", 3_000],
      ["m_2", 2_000],
    ] as const)
      await schedulePast({ id }, agoMs);
    await promoteDue();
    expect(await idsIn("u1")).toEqual(["m_1", "m_2", "m_4"]);
  });

  test("goes by priority while more is due than a call takes; a user's keep the order of time", async () => {
    const { scripts, keys } = store;
    await schedulePast({ id: "m_low", userId: "u1", priority: "low" }, 4_000);
    await schedulePast({ id: "m_normal", userId: "u2" }, 3_000);
    await schedulePast({ id: "m_first", userId: "u3", priority: "low" }, 2_000);
    await schedulePast({ id: "m_high", userId: "u3", priority: "high" }, 1_000);
    const order: string[] = [];
    for (;;) {
      const { members } = await findDueSchedules(scripts, keys, 1);
      if (members.length === 0) break;
      order.push(idOfSchedule(members[0]!));
      expect(await promoteMessages(scripts, keys, token, rules, members)).toMatchObject({
        results: [{ outcome: "promoted" }],
      });
    }
    // The last turn of u3's is m_high's own, and by then nothing of u3 comes before it.
    expect(order).toEqual(["m_first", "m_high", "m_normal", "m_low"]);
  });

  test("is never early: by Redis' clock, whatever the caller says", async () => {
    const { scripts, keys, redis } = store;
    await scheduler.schedule({ ...message({ id: "m_one" }), deliverAtMs: (await store.nowMs()) + HOUR_MS });
    expect((await findDueSchedules(scripts, keys, 10)).members).toEqual([]);
    const [member = ""] = await redis.zrange(keys.scheduled, "0", "-1");
    const before = await store.snapshot();
    const promotion = await promoteMessages(scripts, keys, token, rules, [member]);
    expect(promotion).toMatchObject({ results: [{ outcome: "left" }] });
    const { [keys.generation]: _generation, ...rest } = await store.snapshot();
    expect(rest).toEqual(before);
  });

  test("is promoted once, whoever calls; a call of a stale owner changes nothing", async () => {
    const { scripts, keys } = store;
    await schedulePast({ id: "m_one" });
    const { members } = await findDueSchedules(scripts, keys, 10);
    const before = await store.snapshot();
    expect(await promoteMessages(scripts, keys, "0.x", rules, members)).toBe("stale");
    expect(await store.snapshot()).toEqual(before);
    await promoteMessages(scripts, keys, token, rules, members);
    expect(await promoteMessages(scripts, keys, token, rules, members)).toMatchObject({
      results: [{ outcome: "left" }],
    });
    expect(await idsIn("u1")).toEqual(["m_one"]);
  });

  test("which is sampled goes on as its promotion's child, under a name that the caller is told", async () => {
    const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
    const trace = `00-${traceId}-${spanId}-01`;
    await schedulePast({ id: "m_one", trace });
    await schedulePast({ id: "m_plain" });
    await schedulePast({ id: "m_late", trace, ttlMs: 500 });
    await schedulePast({ id: "m_topic", ...news, trace });
    const [one, plain, late, topic] = await promoteDue();
    expect(plain).not.toHaveProperty("trace");
    for (const traced of [one, late, topic]) expect(traced?.trace?.parent).toBe(trace);
    expect([one, late].map((traced) => traced?.outcome)).toEqual(["promoted", "expired"]);
    const ids = [one, late, topic].map((traced) => traced?.trace?.spanId ?? "");
    expect(new Set([spanId, ...ids]).size).toBe(4);
    const entry = (await store.redis.xrange(store.keys.inbox("u1"), "-", "+"))[0]?.[1][1] ?? "";
    expect(decodeInboxMessage(1, entry).trace).toBe(`00-${traceId}-${ids[0]}-01`);
    const log = await readTopic(store.scripts, store.keys, "news", { after: 0, takesPart: true });
    expect(log?.messages[0]?.trace).toBe(`00-${traceId}-${ids[2]}-01`);
  });

  test("is known to a repetition as the same message, before and after", async () => {
    await schedulePast({ id: "m_one", fingerprint: "f", attempt: "a" });
    await promoteDue();
    const again = { ...message({ id: "m_one", fingerprint: "f" }), deliverAtMs: 1 };
    expect(await scheduler.schedule(again)).toMatchObject({
      outcome: "exists",
      record: { fingerprint: "f", attempt: "a" },
    });
    expect(await store.accepter().accept(again)).toMatchObject({ outcome: "exists" });
  });

  test("that was taken back is not promoted", async () => {
    await schedulePast({ id: "m_one" });
    const { members } = await findDueSchedules(store.scripts, store.keys, 10);
    expect(await cancelSchedule(store.scripts, store.keys, "u1", "m_one")).toBe("cancelled");
    await promoteMessages(store.scripts, store.keys, token, rules, members);
    expect(await idsIn("u1")).toEqual([]);
    expect(await stateOf("m_one")).toBe("cancelled");
  });

  test("whose record is gone, or of another message by now, goes without a trace", async () => {
    const { redis, keys } = store;
    await schedulePast({ id: "m_gone" });
    await schedulePast({ id: "m_other" });
    await redis.del(keys.record("m_gone"));
    await redis.set(keys.record("m_other"), "9\te.1\t1\t99999999999999\tu9\t-\tx");
    await schedulePast({ id: "m_moved" });
    const moved = (await redis.get(keys.record("m_moved"))) ?? "";
    await redis.set(keys.record("m_moved"), moved.replace("\tu1\t", "\tu9\t"));
    expect(outcomes(await promoteDue())).toEqual(["dropped", "dropped", "dropped"]);
    await expectGone();
    expect(await redis.exists(keys.inbox("u1"))).toBe(0);
    expect(await redis.get(keys.record("m_other"))).toContain("u9");
  });

  test("with `always` goes to the fallback at once; while that stream is full, it waits", async () => {
    const { redis, keys } = store;
    const always = { fallback: "always", priority: "low", notification: `{"title":"a","body":"b"}` } as const;
    await schedulePast({ id: "m_one", ...always });
    await redis.xadd(keys.fallback("low"), "*", "m", "x", "n", "0");
    expect(outcomes(await promoteDue({ fallbackCap: 1 }))).toEqual(["held-up"]);
    const waitsUntilMs = Number((await redis.zrange(keys.scheduled, "0", "0", "WITHSCORES"))[1]);
    expect(waitsUntilMs).toBeGreaterThan(await store.nowMs());
    expect(await stateOf("m_one")).toBe("scheduled");
    await redis.zadd(keys.scheduled, 1, (await redis.zrange(keys.scheduled, "0", "0"))[0] ?? "");
    expect(outcomes(await promoteDue())).toEqual(["promoted"]);
    expect(await redis.xlen(keys.fallback("low"))).toBe(2);
  });

  test("beyond its time to live ends expired, with no number", async () => {
    await schedulePast({ id: "m_one", ttlMs: 500 });
    expect(outcomes(await promoteDue())).toEqual(["expired"]);
    expect(await stateOf("m_one")).toBe("expired");
    expect(await idsIn("u1")).toEqual([]);
    expect(await store.redis.pttl(store.keys.record("m_one"))).toBeGreaterThan(24 * HOUR_MS);
    await expectGone();
  });

  test("beyond its user's limit waits for room, and keeps its order", async () => {
    for (const id of ["m_1", "m_2", "m_3"]) await schedulePast({ id });
    expect(outcomes(await promoteDue({ receiveLimit: 2 }))).toEqual(["promoted", "promoted", "limited"]);
    expect(await stateOf("m_3")).toBe("scheduled");
    const { members, nextInMs = 0 } = await findDueSchedules(store.scripts, store.keys, 10);
    expect(members).toEqual([]);
    expect(nextInMs).toBeGreaterThan(0);
    expect(nextInMs).toBeLessThanOrEqual(11_000);
    // What was asked for still stands.
    const page = { after: undefined, limit: 10, maxBytes: 1e6 };
    const { items } = await listSchedules(store.scripts, store.keys, "u1", page);
    expect(items.map(({ id }) => id)).toEqual(["m_3"]);
    expect(items[0]?.deliverAtMs).toBeLessThan(await store.nowMs());
    expect(await cancelSchedule(store.scripts, store.keys, "u1", "m_3")).toBe("cancelled");
    await expectGone();
  });

  test("waits while too much waits to be handed over", async () => {
    await schedulePast({ id: "m_one" });
    await store.redis.xadd(store.keys.ready, "*", "m", "x");
    const before = await store.snapshot();
    const { members } = await findDueSchedules(store.scripts, store.keys, 10);
    const call = promoteMessages(store.scripts, store.keys, token, { ...rules, readyCap: 1 }, members);
    expect(await call).toBe("busy");
    expect(await store.snapshot()).toEqual(before);
  });

  test("of a user whose keys are broken is refused as a whole, and stays", async () => {
    const { redis, keys } = store;
    await schedulePast({ id: "m_zero", userId: "u0" }, 2_000);
    await schedulePast({ id: "m_one" });
    for (const broken of [keys.user("u1"), keys.inbox("u1"), keys.routes("u1")]) {
      await redis.set(broken, "something else");
      const before = await store.snapshot();
      await expect(promoteDue()).rejects.toThrow(/WRONGTYPE/);
      expect(await store.snapshot()).toEqual(before);
      await redis.del(broken);
    }
  });

  test("does not make a call long: beyond 256 KiB the rest is left", async () => {
    const data = JSON.stringify("x".repeat(60 * 1024));
    for (let i = 0; i < 7; i++) await schedulePast({ id: `m_${i}`, data });
    expect(outcomes(await promoteDue())).toEqual([...Array<string>(5).fill("promoted"), "left", "left"]);
    expect(outcomes(await promoteDue())).toEqual(["promoted", "promoted"]);
  });
});
