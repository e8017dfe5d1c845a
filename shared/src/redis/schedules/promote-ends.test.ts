// Tests promotions that are no plain acceptance: what collapses, what fails at a full inbox and is replayed, what a topic
// publishes.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  dataOfSchedule,
  idOfSchedule,
  priorityOfSchedule,
} from "../../protocol/messages/scheduled-message.js";
import { decodeInboxMessage } from "../../protocol/messages/stored-message.js";
import { message } from "../../testing/redis/open-store.js";
import {
  news,
  openSchedules,
  outcomes,
  promoteRules,
  type OpenSchedules,
} from "../../testing/stores/open-schedules.js";
import { ackUsers } from "../inbox/ack-users.js";
import { DeadLettersStore } from "../fallback/dead-letters-store.js";
import { readMessage } from "../inbox/read-message.js";
import { readTopic } from "../topics/read-topic.js";
import { listSchedules } from "./list-schedules.js";
import { findDueSchedules, promotePublications } from "./promote-schedules.js";

let store: OpenSchedules;
beforeAll(async () => void (store = await openSchedules()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const HOUR_MS = 3_600_000;

describe("with a collapse key", () => {
  const score = { collapseKey: "score" } as const;
  const endOf = async (id: string) => {
    const found = await readMessage(store.scripts, store.keys, id);
    return [found?.state, found?.record.end?.word];
  };

  test("it collapses others when it is promoted: older ones, and those due before it", async () => {
    await store.accepter().accept(message({ id: "m_now", ...score }));
    await store.schedulePast({ id: "m_2", ...score }, 1_000);
    await store.schedulePast({ id: "m_1", ...score }, 2_000);
    await store.schedulePast({ id: "m_other", collapseKey: "another" }, 500);
    await store.scheduler.schedule({
      ...message({ id: "m_later", ...score }),
      deliverAtMs: (await store.nowMs()) + HOUR_MS,
    });
    // Waiting, it neither collapses nor is collapsed.
    expect(await store.idsIn("u1")).toEqual(["m_now"]);
    const results = await store.promoteDue();
    expect(outcomes(results)).toEqual(["promoted", "promoted", "promoted"]);
    expect(results.map(({ collapsed }) => collapsed)).toEqual([1, 1, 0]);
    expect(await store.idsIn("u1")).toEqual(["m_2", "m_other"]);
    for (const id of ["m_now", "m_1"]) expect(await endOf(id)).toEqual(["expired", "PETREL_COLLAPSED"]);
    expect(await store.stateOf("m_2")).toBe("queued");
    expect(await store.stateOf("m_later")).toBe("scheduled");
    // An acknowledged one stays delivered.
    const { epoch } = (await readMessage(store.scripts, store.keys, "m_2"))!.record;
    await ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq: 4 }], 0);
    await store.schedulePast({ id: "m_3", ...score });
    expect((await store.promoteDue()).map(({ collapsed }) => collapsed)).toEqual([0]);
    expect(await store.stateOf("m_2")).toBe("delivered");
    expect(await store.stateOf("m_3")).toBe("queued");
  });

  test("it is listed with its data, and fails and replays like any other", async () => {
    await store.schedulePast({ id: "m_0" }, 2_000);
    await store.schedulePast({ id: "m_1", ...score, data: `{"kept":1}`, notification: `{"title":"t"}` });
    const page = { after: undefined, limit: 10, maxBytes: 1e6 };
    const { items } = await listSchedules(store.scripts, store.keys, "u1", page);
    expect(items.map(({ payload }) => dataOfSchedule(payload))).toEqual([`{"n":1}`, `{"kept":1}`]);
    expect(outcomes(await store.promoteDue({ inboxCap: 1 }))).toEqual(["promoted", "failed"]);
    const letters = new DeadLettersStore(store.scripts, store.partitions);
    const [letter] = (await letters.list("inbox-full", undefined, 1)).items;
    expect(letter).toMatchObject({ message: { id: "m_1", notification: `{"title":"t"}` } });
    expect(await letters.replay(letter!)).toBe("replayed");
    expect(outcomes(await store.promoteDue())).toEqual(["promoted"]);
    await store.schedulePast({ id: "m_2", ...score });
    await store.promoteDue();
    expect(await store.idsIn("u1")).toEqual(["m_0", "m_2"]);
  });
});

describe("with a full inbox", () => {
  const deadLetters = () => new DeadLettersStore(store.scripts, store.partitions);
  const full = { inboxCap: 1 } as const;

  test("it fails and becomes a dead letter, which replays through accept", async () => {
    const { redis, keys, scripts } = store;
    await store.schedulePast({ id: "m_1" });
    await store.schedulePast({ id: "m_2", data: `{"kept":true}`, notification: `{"title":"t","body":"b"}` });
    expect(outcomes(await store.promoteDue(full))).toEqual(["promoted", "failed"]);
    expect(await store.keysLeft()).toBe(0);
    expect(await readMessage(scripts, keys, "m_2")).toMatchObject({
      state: "failed",
      record: { seq: 0, end: { word: "inbox-full" } },
    });
    const [letter] = (await deadLetters().list("inbox-full", undefined, 10)).items;
    expect(letter).toMatchObject({
      cause: "inbox-full",
      message: { id: "m_2", userId: "u1", seq: 0, notification: `{"title":"t","body":"b"}` },
    });
    // Still full: it fails again.
    expect(await deadLetters().replay(letter!)).toBe("replayed");
    expect(await store.stateOf("m_2")).toBe("scheduled");
    expect(outcomes(await store.promoteDue(full))).toEqual(["failed"]);
    const [again] = (await deadLetters().list("inbox-full", undefined, 10)).items;
    const { epoch } = (await readMessage(scripts, keys, "m_1"))!.record;
    await ackUsers(scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 0);
    expect(await deadLetters().replay(again!)).toBe("replayed");
    expect(outcomes(await store.promoteDue(full))).toEqual(["promoted"]);
    const last = (await redis.xrevrange(keys.inbox("u1"), "+", "-", "COUNT", 1))[0]?.[1][1] ?? "";
    expect(decodeInboxMessage(2, last)).toMatchObject({ id: "m_2", data: `{"kept":true}` });
    expect(await redis.xlen(keys.deadLetters("inbox-full"))).toBe(0);
  });

  test("a replay keeps its priority", async () => {
    await store.schedulePast({ id: "m_1" });
    for (const priority of ["low", "high"] as const)
      await store.schedulePast({ id: `m_${priority}`, priority });
    await store.promoteDue(full);
    for (const letter of (await deadLetters().list("inbox-full", undefined, 10)).items)
      expect(await deadLetters().replay(letter)).toBe("replayed");
    const { members, nowMs } = await findDueSchedules(store.scripts, store.keys, 10);
    const replayed = members.map((member) => [idOfSchedule(member), priorityOfSchedule(member, nowMs)]);
    expect(Object.fromEntries(replayed)).toEqual({ m_low: "low", m_high: "high" });
  });

  test("its letter is kept within the bound, and is not replayed after its TTL", async () => {
    await store.schedulePast({ id: "m_0" });
    await store.schedulePast({ id: "m_1" });
    await store.schedulePast({ id: "m_2", ttlMs: 61_000 }, 1_000);
    await store.promoteDue({ ...full, deadLettersCap: 1 });
    const { items } = await deadLetters().list("inbox-full", undefined, 10);
    expect(items.map(({ message: { id } }) => id)).toEqual(["m_2"]);
    const record = (await store.redis.get(store.keys.record("m_2"))) ?? "";
    const over = record.split("\t").map((field, i) => (i === 3 ? "1" : field));
    await store.redis.set(store.keys.record("m_2"), over.join("\t"));
    expect(await deadLetters().replay(items[0]!)).toBe("expired");
    await store.redis.del(store.keys.record("m_2"));
    expect(await deadLetters().replay(items[0]!)).toBe("forgotten");
  });
});

describe("a topic's message that is due", () => {
  test("is published: numbered then, in its log, on its channel", async () => {
    const { keys, scripts } = store;
    const heard = await store.listen(`${keys.topicChannel}news`);
    const deliverAtMs = await store.schedulePast({ id: "m_1", ...news });
    const acceptedAtMs = (await readMessage(scripts, keys, "m_1"))!.record.atMs;
    await store.schedulePast({ id: "m_2", ...news, ttlMs: 500 });
    expect(outcomes(await store.promoteDue())).toEqual(["promoted", "expired"]);
    expect(await store.stateOf("m_2")).toBe("expired");
    expect(await readMessage(scripts, keys, "m_1")).toMatchObject({
      state: "published",
      topic: "news",
      record: { seq: 1, expiresAtMs: deliverAtMs + HOUR_MS, atMs: acceptedAtMs },
    });
    await expect.poll(() => heard.length).toBe(1);
    expect(heard[0]).toContain("m_1");
    const log = await readTopic(scripts, keys, "news", { after: 0, takesPart: true });
    expect(log).toMatchObject({ messages: [{ id: "m_1", data: `"hello"`, offset: 1 }] });
    expect(await store.keysLeft("#news")).toBe(0);
  });

  test("is not published twice, nor for a stale owner; a broken topic refuses it as a whole", async () => {
    const { keys, scripts, redis } = store;
    await store.schedulePast({ id: "m_1", ...news });
    const { members } = await findDueSchedules(scripts, keys, 10);
    for (const broken of [keys.topic("news"), keys.topicLog("news")]) {
      await redis.set(broken, "something else");
      const before = await store.snapshot();
      expect(await promotePublications(scripts, keys, "0.x", promoteRules, members)).toBe("stale");
      await expect(promotePublications(scripts, keys, store.token, promoteRules, members)).rejects.toThrow(
        /WRONGTYPE/,
      );
      expect(await store.snapshot()).toEqual(before);
      await redis.del(broken);
    }
    for (const outcome of ["promoted", "left"])
      expect(await promotePublications(scripts, keys, store.token, promoteRules, members)).toMatchObject({
        results: [{ outcome }],
      });
    expect(await redis.xlen(keys.topicLog("news"))).toBe(1);
  });
});
