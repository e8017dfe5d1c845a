// Tests what becomes of a message when its time comes.
// Guarantees covered: never early; stored once, numbered then; its time to live counts from its time; full, limited and
// expired ends as documented; a stale owner changes nothing; a broken recipient keeps nobody else.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { idOfSchedule } from "../../protocol/messages/scheduled-message.js";
import { decodeInboxMessage, decodeReadyMessage } from "../../protocol/messages/stored-message.js";
import { message, routeLimits } from "../../testing/redis/open-store.js";
import {
  news,
  openSchedules,
  outcomes,
  promoteRules,
  type OpenSchedules,
} from "../../testing/stores/open-schedules.js";
import { readMessage } from "../inbox/read-message.js";
import { connectRoute } from "../routes/connect-routes.js";
import { readTopic } from "../topics/read-topic.js";
import { cancelSchedule } from "./cancel-schedule.js";
import { listSchedules } from "./list-schedules.js";
import { findDueSchedules, promoteMessages } from "./promote-schedules.js";

let store: OpenSchedules;
beforeAll(async () => void (store = await openSchedules()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const HOUR_MS = 3_600_000;

describe("a message that is due", () => {
  test("is accepted: numbered then, and accepted as of when it was sent", async () => {
    const { redis, keys } = store;
    const deliverAtMs = await store.schedulePast({ id: "m_one", ttlMs: 60_000, data: `{"a":1}` });
    const acceptedAtMs = (await readMessage(store.scripts, keys, "m_one"))!.record.atMs;
    const [one] = await store.promoteDue();
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
    expect(await store.keysLeft()).toBe(0);
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
    await store.schedulePast({ id: "m_on" });
    await store.schedulePast({ id: "m_off", userId: "u2" });
    await store.promoteDue();
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
      await store.schedulePast({ id }, agoMs);
    await store.promoteDue();
    expect(await store.idsIn("u1")).toEqual(["m_1", "m_2", "m_4"]);
  });

  test("is ordered by priority while more is due than a call takes; a user's keep the order of time", async () => {
    const { scripts, keys } = store;
    await store.schedulePast({ id: "m_low", userId: "u1", priority: "low" }, 4_000);
    await store.schedulePast({ id: "m_normal", userId: "u2" }, 3_000);
    await store.schedulePast({ id: "m_first", userId: "u3", priority: "low" }, 2_000);
    await store.schedulePast({ id: "m_high", userId: "u3", priority: "high" }, 1_000);
    const order: string[] = [];
    for (;;) {
      const { members } = await findDueSchedules(scripts, keys, 1);
      if (members.length === 0) break;
      order.push(idOfSchedule(members[0]!));
      expect(await promoteMessages(scripts, keys, store.token, promoteRules, members)).toMatchObject({
        results: [{ outcome: "promoted" }],
      });
    }
    // The last turn of u3's is m_high's own, and by then nothing of u3 comes before it.
    expect(order).toEqual(["m_first", "m_high", "m_normal", "m_low"]);
  });

  test("is never early: by Redis' clock, whatever the caller says", async () => {
    const { scripts, keys, redis } = store;
    await store.scheduler.schedule({
      ...message({ id: "m_one" }),
      deliverAtMs: (await store.nowMs()) + HOUR_MS,
    });
    expect((await findDueSchedules(scripts, keys, 10)).members).toEqual([]);
    const [member = ""] = await redis.zrange(keys.scheduled, "0", "-1");
    const before = await store.snapshot();
    const promotion = await promoteMessages(scripts, keys, store.token, promoteRules, [member]);
    expect(promotion).toMatchObject({ results: [{ outcome: "left" }] });
    const { [keys.generation]: _generation, ...rest } = await store.snapshot();
    expect(rest).toEqual(before);
  });

  test("is promoted once, whoever calls; a call of a stale owner changes nothing", async () => {
    const { scripts, keys } = store;
    await store.schedulePast({ id: "m_one" });
    const { members } = await findDueSchedules(scripts, keys, 10);
    const before = await store.snapshot();
    expect(await promoteMessages(scripts, keys, "0.x", promoteRules, members)).toBe("stale");
    expect(await store.snapshot()).toEqual(before);
    await promoteMessages(scripts, keys, store.token, promoteRules, members);
    expect(await promoteMessages(scripts, keys, store.token, promoteRules, members)).toMatchObject({
      results: [{ outcome: "left" }],
    });
    expect(await store.idsIn("u1")).toEqual(["m_one"]);
  });

  test("that is sampled continues as its promotion's child, under a name returned to the caller", async () => {
    const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
    const trace = `00-${traceId}-${spanId}-01`;
    await store.schedulePast({ id: "m_one", trace });
    await store.schedulePast({ id: "m_plain" });
    await store.schedulePast({ id: "m_late", trace, ttlMs: 500 });
    await store.schedulePast({ id: "m_topic", ...news, trace });
    const [one, plain, late, topic] = await store.promoteDue();
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

  test("is found by a repeat as the same message, before and after", async () => {
    await store.schedulePast({ id: "m_one", fingerprint: "f", attempt: "a" });
    await store.promoteDue();
    const again = { ...message({ id: "m_one", fingerprint: "f" }), deliverAtMs: 1 };
    expect(await store.scheduler.schedule(again)).toMatchObject({
      outcome: "exists",
      record: { fingerprint: "f", attempt: "a" },
    });
    expect(await store.accepter().accept(again)).toMatchObject({ outcome: "exists" });
  });

  test("that was cancelled is not promoted", async () => {
    await store.schedulePast({ id: "m_one" });
    const { members } = await findDueSchedules(store.scripts, store.keys, 10);
    expect(await cancelSchedule(store.scripts, store.keys, "u1", "m_one")).toBe("cancelled");
    await promoteMessages(store.scripts, store.keys, store.token, promoteRules, members);
    expect(await store.idsIn("u1")).toEqual([]);
    expect(await store.stateOf("m_one")).toBe("cancelled");
  });

  test("whose record is gone, or another message's by now, is dropped without a trace", async () => {
    const { redis, keys } = store;
    await store.schedulePast({ id: "m_gone" });
    await store.schedulePast({ id: "m_other" });
    await redis.del(keys.record("m_gone"));
    await redis.set(keys.record("m_other"), "9\te.1\t1\t99999999999999\tu9\t-\tx");
    await store.schedulePast({ id: "m_moved" });
    const moved = (await redis.get(keys.record("m_moved"))) ?? "";
    await redis.set(keys.record("m_moved"), moved.replace("\tu1\t", "\tu9\t"));
    expect(outcomes(await store.promoteDue())).toEqual(["dropped", "dropped", "dropped"]);
    expect(await store.keysLeft()).toBe(0);
    expect(await redis.exists(keys.inbox("u1"))).toBe(0);
    expect(await redis.get(keys.record("m_other"))).toContain("u9");
  });

  test("with `always` goes to the fallback at once; while that stream is full, it waits", async () => {
    const { redis, keys } = store;
    const always = { fallback: "always", priority: "low", notification: `{"title":"a","body":"b"}` } as const;
    await store.schedulePast({ id: "m_one", ...always });
    await redis.xadd(keys.fallback("low"), "*", "m", "x", "n", "0");
    expect(outcomes(await store.promoteDue({ fallbackCap: 1 }))).toEqual(["held-up"]);
    const waitsUntilMs = Number((await redis.zrange(keys.scheduled, "0", "0", "WITHSCORES"))[1]);
    expect(waitsUntilMs).toBeGreaterThan(await store.nowMs());
    expect(await store.stateOf("m_one")).toBe("scheduled");
    await redis.zadd(keys.scheduled, 1, (await redis.zrange(keys.scheduled, "0", "0"))[0] ?? "");
    expect(outcomes(await store.promoteDue())).toEqual(["promoted"]);
    expect(await redis.xlen(keys.fallback("low"))).toBe(2);
  });

  test("past its TTL ends expired, without a number", async () => {
    await store.schedulePast({ id: "m_one", ttlMs: 500 });
    expect(outcomes(await store.promoteDue())).toEqual(["expired"]);
    expect(await store.stateOf("m_one")).toBe("expired");
    expect(await store.idsIn("u1")).toEqual([]);
    expect(await store.redis.pttl(store.keys.record("m_one"))).toBeGreaterThan(24 * HOUR_MS);
    expect(await store.keysLeft()).toBe(0);
  });

  test("beyond its user's limit waits for room, and keeps its order", async () => {
    for (const id of ["m_1", "m_2", "m_3"]) await store.schedulePast({ id });
    expect(outcomes(await store.promoteDue({ receiveLimit: 2 }))).toEqual([
      "promoted",
      "promoted",
      "limited",
    ]);
    expect(await store.stateOf("m_3")).toBe("scheduled");
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
    expect(await store.keysLeft()).toBe(0);
  });

  test("waits while the hand-over backlog is too large", async () => {
    await store.schedulePast({ id: "m_one" });
    await store.redis.xadd(store.keys.ready, "*", "m", "x");
    const before = await store.snapshot();
    const { members } = await findDueSchedules(store.scripts, store.keys, 10);
    const call = promoteMessages(
      store.scripts,
      store.keys,
      store.token,
      { ...promoteRules, readyCap: 1 },
      members,
    );
    expect(await call).toBe("busy");
    expect(await store.snapshot()).toEqual(before);
  });

  test("of a user whose keys are broken is refused as a whole, and stays", async () => {
    const { redis, keys } = store;
    await store.schedulePast({ id: "m_zero", userId: "u0" }, 2_000);
    await store.schedulePast({ id: "m_one" });
    for (const broken of [keys.user("u1"), keys.inbox("u1"), keys.routes("u1")]) {
      await redis.set(broken, "something else");
      const before = await store.snapshot();
      await expect(store.promoteDue()).rejects.toThrow(/WRONGTYPE/);
      expect(await store.snapshot()).toEqual(before);
      await redis.del(broken);
    }
  });

  test("does not make a call long: beyond 256 KiB the rest waits", async () => {
    const data = JSON.stringify("x".repeat(60 * 1024));
    for (let i = 0; i < 7; i++) await store.schedulePast({ id: `m_${i}`, data });
    expect(outcomes(await store.promoteDue())).toEqual([
      ...Array<string>(5).fill("promoted"),
      "left",
      "left",
    ]);
    expect(outcomes(await store.promoteDue())).toEqual(["promoted", "promoted"]);
  });
});
