// Tests which events the scripts write, on a real Redis.
// Guarantees: each end has exactly its event, in the step that wrote it, in order for each user; what is not wanted is
// not written.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { EventItem } from "../../protocol/events/event-item.js";
import { eventTypes } from "../../protocol/events/event-types.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { message, openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import type { MessageToAccept } from "../accept/accept-batch.js";
import { DevicesStore } from "../devices/devices-store.js";
import { invalidateDevices } from "../devices/invalidate-devices.js";
import { UserEraser } from "../erasure/erase-user.js";
import { readFallback, type TakenEntry } from "../fallback/fallback-queue.js";
import { settleFallback, type Settlement } from "../fallback/settle-fallback.js";
import { ackUsers } from "../inbox/ack-users.js";
import { expireMessages } from "../inbox/expire-messages.js";
import { readMessage } from "../inbox/read-message.js";
import { connectRoute } from "../routes/connect-routes.js";
import { removeRoute } from "../routes/route-store.js";
import { beginSend } from "../recall/begin-send.js";
import { cancelMessage } from "../recall/cancel-message.js";
import { promoteMessages, promotePublications } from "../schedules/promote-schedules.js";
import { MessageScheduler } from "../schedules/schedule-messages.js";
import { EventWriting } from "../scripts/event-writing.js";
import { readScripts } from "../scripts/script-catalogue.js";
import { ScriptRunner } from "../scripts/script-runner.js";
import { readPartitionEvents } from "./read-partition-events.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore({ events: eventTypes })));
beforeEach(() => store.clear());
afterAll(() => store.close());

const TRACE_ID = "a".repeat(32);
const trace = `00-${TRACE_ID}-${"b".repeat(16)}-01`;

async function accept(parts: Partial<MessageToAccept> = {}) {
  const given = message(parts);
  const result = await store.accepter().accept(given);
  if (result.outcome !== "stored") throw new Error(result.outcome);
  return { ...given, ...result };
}

/** Accepts a message whose time to live is over by now. */
async function acceptExpired(parts: Partial<MessageToAccept>) {
  const accepted = await accept({ ...parts, ttlMs: 1 });
  while ((await store.nowMs()) <= accepted.atMs + 1);
  return accepted;
}

async function items(): Promise<readonly EventItem[]> {
  const { events } = await readPartitionEvents(store.scripts, store.keys, "oldest", { limit: 10_000 });
  return events.map(({ item }) => item);
}

/** Type and message, or what else it is about. */
async function told(): Promise<string[]> {
  return (await items()).map(({ type, message: id, user, topic }) => `${type} ${id ?? user ?? topic ?? ""}`);
}

const ack = (epoch: string, seq: number) =>
  ackUsers(store.scripts, store.keys, [{ userId: "u1", epoch, seq }], 100);
const cancel = (id: string) => cancelMessage(store.scripts, store.scripts, store.keys, id);

/** As offered to the fallback, and given to a worker. */
async function take({ id, seq, epoch, atMs, ttlMs, trace: its }: Awaited<ReturnType<typeof accept>>) {
  const text = ["u1", seq, epoch, atMs, atMs + ttlMs, id, "on", "{}", ...(its === undefined ? [] : [its])];
  await store.redis.xadd(store.keys.fallback("normal"), "*", "m", text.join("\t"), "n", "0");
  const [entry] = await readFallback(store.scripts, { keys: store.keys, priority: "normal" }, "w1", 1);
  if (entry === undefined) throw new Error("nothing to take");
  return entry;
}
const settle = (entry: TakenEntry, settlement: Settlement) =>
  settleFallback(store.scripts, entry, settlement, { attempts: 1, notes: [], deadLettersCap: 10 });

describe("delivered", () => {
  test("is one for each message of a range, with its number, time and trace", async () => {
    const first = await accept({ id: "m1", trace });
    const second = await accept({ id: "m2" });
    await ack(first.epoch, 2);
    expect(await items()).toMatchObject([
      {
        type: "message.delivered",
        user: "u1",
        message: "m1",
        traceId: TRACE_ID,
        data: { seq: 1, epoch: first.epoch, acceptedAt: new Date(first.atMs).toISOString() },
      },
      { message: "m2", data: { seq: 2, acceptedAt: new Date(second.atMs).toISOString() } },
    ]);
    expect((await items())[1]).not.toHaveProperty("traceId");
    await ack(first.epoch, 2);
    expect(await items()).toHaveLength(2);
  });

  test("skips messages with another end; reports pushed ones again", async () => {
    const one = await accept({ id: "m1" });
    await accept({ id: "m2" });
    const three = await accept({ id: "m3", notification: "{}" });
    await acceptExpired({ id: "m4" });
    await settle(await take(three), { outcome: "taken", channel: "apns" });
    await cancel("m2");
    // An ended one that a client acknowledges all the same: it stays in the inbox until the cursor moves over it.
    await expireMessages(store.scripts, store.keys, "u1", [{ seq: 4, epoch: one.epoch, id: "m4" }]);
    await ack(one.epoch, 4);
    expect(await told()).toEqual([
      "message.pushed m3",
      "message.cancelled m2",
      "message.expired m4",
      "message.delivered m1",
      "message.delivered m3",
    ]);
  });

  test("keeps a message's end that was pushed and then expired, wherever in the range it is", async () => {
    const { epoch } = await accept({ id: "m1" });
    const pushed = await accept({ id: "m2", ttlMs: 200 });
    await settle(await take(pushed), { outcome: "taken", channel: "apns" });
    while ((await store.nowMs()) <= pushed.atMs + 200);
    await expireMessages(store.scripts, store.keys, "u1", [{ seq: 2, epoch, id: "m2" }]);
    await ack(epoch, 2);
    expect(await told()).toEqual(["message.pushed m2", "message.delivered m1"]);
    expect((await readMessage(store.scripts, store.keys, "m2"))?.state).toBe("pushed");
  });

  test("covers a long range completely, however many calls that takes", async () => {
    const accepter = store.accepter();
    const ids = Array.from({ length: 450 }, (_, i) => `m${i}`);
    const results = await Promise.all(ids.map((id) => accepter.accept(message({ id }))));
    const epoch = results[0]?.outcome === "stored" ? results[0].epoch : "";
    expect(await ack(epoch, 450)).toEqual([450]);
    expect(await told()).toEqual(ids.map((id) => `message.delivered ${id}`));
  });

  test("large messages, of several users, too", async () => {
    const data = JSON.stringify("x".repeat(60_000));
    const users = ["u1", "u2"];
    let epoch = "";
    for (const userId of users) {
      for (let i = 0; i < 8; i++) ({ epoch } = await accept({ userId, id: `${userId}-${i}`, data }));
    }
    const epochs = await Promise.all(users.map((one) => store.redis.hget(store.keys.user(one), "epoch")));
    const acks = users.map((userId, i) => ({ userId, epoch: epochs[i] ?? epoch, seq: 8 }));
    expect(await ackUsers(store.scripts, store.keys, acks, 100)).toEqual([8, 8]);
    for (const userId of users) {
      const mine = (await items()).filter(({ user }) => user === userId);
      expect(mine.map(({ data: { seq } }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    }
  });

  test("a position that a client resumes from", async () => {
    const { epoch } = await accept({ id: "m1" });
    await accept({ id: "m2" });
    const route = { userId: "u1", node: "n1", connection: "c1", platform: "web" };
    await connectRoute(store.scripts, store.keys, { ...route, position: { epoch, since: 1 } }, routeLimits);
    expect(await told()).toEqual(["message.delivered m1", "user.online u1"]);
  });
});

describe("other ends", () => {
  test("expired, with its trace; once", async () => {
    const { epoch } = await acceptExpired({ id: "m1", trace });
    for (let i = 0; i < 2; i++) {
      await expireMessages(store.scripts, store.keys, "u1", [{ seq: 1, epoch, id: "m1" }]);
    }
    const [only, ...more] = await items();
    expect(more).toEqual([]);
    expect(only).toMatchObject({ type: "message.expired", message: "m1", traceId: TRACE_ID });
    expect(only?.data).not.toHaveProperty("reason");
  });

  test("pushed, by its channel; failed, with its reason in one line", async () => {
    const pushed = await accept({ id: "m1", trace });
    await settle(await take(pushed), { outcome: "taken", channel: "webhook" });
    const failed = await accept({ id: "m2" });
    await settle(await take(failed), { outcome: "failed", cause: "rejected", reason: "Bad\ttoken\nhere" });
    expect(await items()).toMatchObject([
      { type: "message.pushed", message: "m1", traceId: TRACE_ID, data: { seq: 1, channel: "webhook" } },
      {
        type: "message.failed",
        message: "m2",
        data: { seq: 2, reason: { code: "rejected", message: "Bad token here" } },
      },
    ]);
  });

  test("a push taken after its message was acknowledged is no event: it reads delivered", async () => {
    const one = await accept({ id: "m1" });
    const entry = await take(one);
    await ack(one.epoch, 1);
    await settle(entry, { outcome: "taken", channel: "apns" });
    expect(await told()).toEqual(["message.delivered m1"]);
    expect((await readMessage(store.scripts, store.keys, "m1"))?.state).toBe("delivered");
  });

  test("collapsed, at once or when its send is settled", async () => {
    await accept({ id: "m1", collapseKey: "k", trace });
    const two = await accept({ id: "m2", collapseKey: "k" });
    expect(await items()).toMatchObject([
      {
        type: "message.expired",
        message: "m1",
        traceId: TRACE_ID,
        data: { seq: 1, reason: { code: "PETREL_COLLAPSED" } },
      },
    ]);
    const entry = await take({ ...two });
    const notification = `{"title":"t","collapseKey":"k"}`;
    await beginSend(store.scripts, store.keys, entry.message, { name: "s", keepMs: 60_000 });
    await accept({ id: "m3", collapseKey: "k" });
    expect(await told()).toHaveLength(1);
    const text = (await store.redis.xrange(store.keys.fallback("normal"), "-", "+"))[0]?.[1][1] ?? "";
    await store.redis.del(store.keys.fallback("normal"));
    await store.redis.xadd(
      store.keys.fallback("normal"),
      "*",
      "m",
      text.replace("\t{}", `\t${notification}`),
      "n",
      "0",
    );
    await store.redis.xgroup("CREATE", store.keys.fallback("normal"), "workers", "0");
    const [again] = await readFallback(store.scripts, { keys: store.keys, priority: "normal" }, "w1", 1);
    if (again === undefined) throw new Error("nothing to take");
    await settle(again, { outcome: "dropped" });
    expect(await told()).toEqual(["message.expired m1", "message.expired m2"]);
  });

  test("of scheduled messages: cancelled, expired, failed; a topic's names the topic", async () => {
    const scheduler = new MessageScheduler({ ...store, cap: 100, maxInFlight: 1 });
    const deliverAtMs = (await store.nowMs()) + 1_000;
    const record = { fingerprint: "f", attempt: "a" };
    const news = {
      topic: "news",
      partition: 0,
      ttlMs: 1,
      history: { size: 1, ageMs: 60_000, bytes: 1_000 },
      from: "",
      data: "1",
      record,
    };
    await scheduler.schedule({ ...news, id: "t1", deliverAtMs });
    await scheduler.schedule({ ...news, id: "t2", deliverAtMs });
    await scheduler.schedule({ ...message({ id: "m1", trace }), deliverAtMs });
    await scheduler.schedule({ ...message({ id: "m2" }), deliverAtMs });
    await cancel("t1");
    await cancel("m1");
    // Its time, and its time to live, have passed.
    for (const id of ["t2"]) {
      const key = store.keys.record(id);
      const text = (await store.redis.get(key)) ?? "";
      await store.redis.set(key, text.replace(/^(0\t@\t\d+\t)\d+/, "$11"));
    }
    const members = await store.redis.zrange(store.keys.scheduled, "0", "-1");
    for (const member of members) await store.redis.zadd(store.keys.scheduled, "XX", 1, member);
    const token = await store.own();
    const rules = {
      ackTimeoutMs: 1_000,
      inboxCap: 0,
      readyCap: 1_000,
      fallbackCap: 1_000,
      recordKeepMs: 1_000,
      receiveLimit: 0,
      deadLettersCap: 10,
    };
    const ofTopic = members.filter((member) => member.includes("#"));
    const ofUser = members.filter((member) => !member.includes("#"));
    await promotePublications(store.scripts, store.keys, token, rules, ofTopic);
    await promoteMessages(store.scripts, store.keys, token, rules, ofUser);
    expect(await items()).toMatchObject([
      { type: "message.cancelled", topic: "news", message: "t1" },
      { type: "message.cancelled", user: "u1", message: "m1", traceId: TRACE_ID },
      { type: "message.expired", topic: "news", message: "t2" },
      { type: "message.failed", user: "u1", message: "m2", data: { reason: { code: "inbox-full" } } },
    ]);
    for (const { data } of await items()) expect(data).not.toHaveProperty("seq");
  });

  test("a removed or quarantined device, not one that was registered again", async () => {
    const devices = new DevicesStore(store.scripts, store.partitions);
    const userId = Array.from({ length: 20 }, (_, i) => `d${i}`).find(
      (name) => partitionOfUser(name, 2) === 0,
    );
    if (userId === undefined) throw new Error("no user");
    const phone = { platform: "ios", token: "ab".repeat(32), topic: "t", environment: "sandbox" } as const;
    await devices.register(userId, phone, 1_000);
    const [{ id: deviceId } = { id: "" }] = await devices.list(userId);
    const verdict = { userId, deviceId, tokenEnd: "ababab", topic: "t", reason: "unregistered" } as const;
    await invalidateDevices(store.scripts, store.keys, [{ ...verdict, what: "forget", beforeMs: 1 }], 9);
    await invalidateDevices(
      store.scripts,
      store.keys,
      [{ ...verdict, what: "quarantine", beforeMs: 2_000 }],
      9,
    );
    await invalidateDevices(store.scripts, store.keys, [{ ...verdict, what: "forget", beforeMs: 2_000 }], 9);
    const data = { device: deviceId, platform: "ios", reason: "unregistered" };
    expect(await items()).toMatchObject([
      { type: "device.invalidated", user: userId, data: { ...data, outcome: "quarantined" } },
      { type: "device.invalidated", user: userId, data: { ...data, outcome: "forgotten" } },
    ]);
  });
});

test("erasing a person removes their events and writes none", async () => {
  const names = Array.from({ length: 20 }, (_, i) => `e${i}`).filter(
    (name) => partitionOfUser(name, 2) === 0,
  );
  const [person = "", other = ""] = names;
  for (const userId of [person, other]) {
    const { epoch } = await accept({ userId, id: `m-${userId}` });
    await ackUsers(store.scripts, store.keys, [{ userId, epoch, seq: 1 }], 100);
    const route = { userId, node: "n1", connection: "c1", platform: "web" };
    await connectRoute(store.scripts, store.keys, route, routeLimits);
  }
  const devices = new DevicesStore(store.scripts, store.partitions);
  await new UserEraser({ ...store, devices }).erase(person);
  expect(await told()).toEqual([`message.delivered m-${other}`, `user.online ${other}`]);
  expect(await store.redis.zrange(store.keys.online, "0", "-1")).toEqual([other]);
});

test("beyond the bound the oldest are removed, and their readers are told", async () => {
  const bounded = new ScriptRunner(store.redis, readScripts(), new EventWriting(eventTypes, 100));
  const { epoch } = await accept({ id: "m0" });
  const { next } = await readPartitionEvents(bounded, store.keys, "now", { limit: 1 });
  for (let seq = 1; seq <= 150; seq++) {
    if (seq > 1) await accept({ id: `m${seq}` });
    await ackUsers(bounded, store.keys, [{ userId: "u1", epoch, seq }], 100);
  }
  const page = await readPartitionEvents(bounded, store.keys, next, { limit: 1_000 });
  expect(page.gap).toBe(true);
  expect(page.events.length).toBeLessThanOrEqual(100);
  expect(page.events.at(-1)?.item.message).toBe("m150");
  expect(await store.redis.xlen(store.keys.events)).toBe(page.events.length);
  const again = await readPartitionEvents(bounded, store.keys, page.next, { limit: 1 });
  expect(again.gap).toBe(false);
});

test("writes no unwanted type, and leaves no key", async () => {
  const quiet = new ScriptRunner(store.redis);
  const { epoch } = await accept({ id: "m1" });
  const route = { userId: "u1", node: "n1", connection: "c1", platform: "web" };
  const connected = await connectRoute(quiet, store.keys, route, routeLimits);
  await ackUsers(quiet, store.keys, [{ userId: "u1", epoch, seq: 1 }], 100);
  await accept({ id: "m2" });
  await cancelMessage(quiet, quiet, store.keys, "m2");
  if (connected.outcome === "connected") {
    await removeRoute(quiet, store.keys, "u1", connected.member, 0);
  }
  expect(await store.redis.exists(store.keys.events, store.keys.eventLog, store.keys.online)).toBe(0);
  const some = new ScriptRunner(store.redis, readScripts(), new EventWriting(["message.cancelled"], 100));
  const { seq } = await accept({ id: "m3" });
  await accept({ id: "m4" });
  await cancelMessage(some, some, store.keys, "m4");
  await ackUsers(some, store.keys, [{ userId: "u1", epoch, seq }], 100);
  expect(await told()).toEqual(["message.cancelled m4"]);
});
