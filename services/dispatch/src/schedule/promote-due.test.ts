// Tests that a dispatcher promotes what is due, on a real Redis. Guarantees covered: none early; in order of time,
// across partitions; another owner continues if one died; a broken recipient delays nobody else; topics are published.
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import { decodeInboxMessage } from "@petrel/shared/protocol/messages/stored-message";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { MessageScheduler, type MessageToSchedule } from "@petrel/shared/redis/schedules/schedule-messages";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  startDispatcher,
  type StartDispatcherOptions,
  type TestDispatcher,
} from "../testing/start-dispatcher.js";

let store: OpenStore;
let scheduler: MessageScheduler;
const dispatchers: TestDispatcher[] = [];
beforeAll(async () => {
  store = await openStore();
  scheduler = new MessageScheduler({ ...store, maxInFlight: 1, cap: 10_000 });
});
beforeEach(() => store.clear());
afterEach(async () => {
  await Promise.all(dispatchers.splice(0).map((one) => one.stop()));
});
afterAll(() => store.close());

async function start(more: Partial<StartDispatcherOptions> = {}): Promise<TestDispatcher> {
  const { partitions, server } = store;
  const dispatcher = await startDispatcher({ url: server.url, dispatcherId: "a", partitions, ...more });
  dispatchers.push(dispatcher);
  return dispatcher;
}

const keysOf = (userId: string) => store.partitions[partitionOfUser(userId, 2)]!;

/** Far enough ahead for a slow machine to store all of them before. */
const SOON_MS = 3_000;

/** All in one turn, so that each partition gets one call. @returns when each is due, by its id */
async function schedule(
  wanted: readonly (readonly [userId: string, id: string, afterMs?: number])[],
): Promise<ReadonlyMap<string, number>> {
  const nowMs = await store.nowMs();
  const times = new Map(wanted.map(([, id, afterMs = 0]) => [id, nowMs + SOON_MS + afterMs]));
  const results = await Promise.all(
    wanted.map(([userId, id]) =>
      scheduler.schedule({
        ...message({ userId, id, partition: partitionOfUser(userId, 2) }),
        deliverAtMs: times.get(id) ?? 0,
      }),
    ),
  );
  expect(new Set(results.map(({ outcome }) => outcome))).toEqual(new Set(["scheduled"]));
  return times;
}

async function inboxOf(userId: string) {
  const entries = await store.redis.xrange(keysOf(userId).inbox(userId), "-", "+");
  return entries.map(([id, [, value]]) => decodeInboxMessage(Number.parseInt(id, 10), value ?? ""));
}

test("promotes due messages in order and never early, in all partitions", async () => {
  const dispatcher = await start();
  const users = ["u1", "u2", "u3", "u4"];
  expect(new Set(users.map((user) => keysOf(user).partition)).size).toBe(2);
  const times = await schedule(
    users.flatMap((user) => [400, 200, 300, 100].map((ms) => [user, `m_${user}_${ms}`, ms] as const)),
  );
  await waitFor(async () => (await Promise.all(users.map(inboxOf))).every((inbox) => inbox.length === 4), {
    what: "all of them",
  });
  for (const user of users) {
    const inbox = await inboxOf(user);
    expect(inbox.map(({ id }) => id)).toEqual([100, 200, 300, 400].map((inMs) => `m_${user}_${inMs}`));
    for (const { id, atMs } of inbox) expect(atMs).toBeGreaterThanOrEqual(times.get(id) ?? 0);
  }
  expect(await dispatcher.count("petrel_dispatch_promotions_total", { outcome: "promoted" })).toBe(16);
  expect(await dispatcher.registry.metrics()).toMatch(/^petrel_schedule_lateness_seconds_count\S* 16$/m);
});

test("what exceeds one call continues at once, together with what is due for a topic", async () => {
  await schedule(Array.from({ length: 130 }, (_, i) => ["u1", `m_${i}`] as const));
  const deliverAtMs = (await store.nowMs()) + SOON_MS;
  const partition = partitionOfTopic("news", 2);
  await scheduler.schedule({
    topic: "news",
    partition,
    id: "m_topic",
    ttlMs: 60_000,
    history: { size: 1, ageMs: 60_000, bytes: 1_000 },
    from: "",
    data: "1",
    record: { fingerprint: "f", attempt: "a" },
    deliverAtMs,
  } satisfies MessageToSchedule);
  await start();
  await waitFor(async () => (await inboxOf("u1")).length === 130, { what: "all of them" });
  expect((await inboxOf("u1")).map(({ id }) => id)).toEqual(Array.from({ length: 130 }, (_, i) => `m_${i}`));
  await waitFor(
    async () =>
      (await readMessage(store.scripts, store.partitions[partition]!, "m_topic"))?.state === "published",
    { what: "the topic's" },
  );
});

test("after a dispatcher dies the next one continues: no message is lost or promoted twice", async () => {
  await schedule(Array.from({ length: 300 }, (_, i) => [`u${i % 10}`, `m_${i}`] as const));
  const first = await start();
  const count = async () =>
    (await Promise.all(Array.from({ length: 10 }, (_, i) => inboxOf(`u${i}`)))).flat().map(({ id }) => id);
  await waitFor(async () => (await count()).length > 0, { what: "the first of them" });
  first.crash();
  await start({ dispatcherId: "b" });
  await waitFor(async () => (await count()).length >= 300, { what: "the rest" });
  const ids = await count();
  expect(new Set(ids).size).toBe(300);
  expect(ids).toHaveLength(300);
});

test("a user with broken keys does not delay others, and is retried later", async () => {
  const [broken, other] = ["u1", "u2", "u3", "u4"].filter((user) => keysOf(user).partition === 0);
  if (broken === undefined || other === undefined) throw new Error("no two users of one partition");
  await store.redis.set(store.keys.inbox(broken), "no stream");
  await schedule([
    [broken, "m_broken"],
    [other, "m_other"],
  ]);
  const dispatcher = await start();
  await waitFor(async () => (await inboxOf(other)).length === 1, { what: "the other's" });
  await waitFor(
    async () => (await dispatcher.count("petrel_dispatch_promotions_total", { outcome: "refused" })) === 1,
    { what: "the refusal" },
  );
  expect(Number(await store.redis.zscore(store.keys.scheduled, await memberOf("m_broken")))).toBeGreaterThan(
    (await store.nowMs()) + 30_000,
  );
  expect((await readMessage(store.scripts, store.keys, "m_broken"))?.state).toBe("scheduled");
});

async function memberOf(id: string): Promise<string> {
  const members = await store.redis.zrange(store.keys.scheduled, "0", "-1");
  return members.find((member) => member.includes(id)) ?? "";
}
