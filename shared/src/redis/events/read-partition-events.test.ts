// Tests reading the events of a partition, on a real Redis.
// Guarantees: every kept event is read once, in order, however the pages are cut; what is gone is told, once.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { EventType } from "../../protocol/events/event-types.js";
import { encodeStoredEvent } from "../../protocol/events/stored-event.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { readPartitionEvents, type EventStart, type PartitionEvents } from "./read-partition-events.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

async function add(message: string, type: EventType = "message.pushed"): Promise<string> {
  const text = encodeStoredEvent({
    who: "u1",
    seq: "1",
    epoch: "e.1",
    type,
    atMs: 1_000,
    words: [message, "500", "apns", ""],
    trace: undefined,
  });
  return String(await store.redis.xadd(store.keys.events, "*", "m", text));
}

function read(start: EventStart, limit = 100, types?: ReadonlySet<EventType>): Promise<PartitionEvents> {
  return readPartitionEvents(store.scripts, store.keys, start, { limit, types });
}

function messagesOf({ events }: PartitionEvents): (string | undefined)[] {
  return events.map(({ item }) => item.message);
}

/** As after a failover: Redis is another one, and its last writes may be lost. */
async function changeGeneration(): Promise<void> {
  await store.redis.hset(store.keys.generation, { replid: "0".repeat(40), run: "another" });
}

test("pages of any size bring all events, in order, with one id each", async () => {
  await read("now");
  for (let i = 0; i < 250; i++) await add(`m${i}`);
  const whole = await read("oldest", 1_000);
  expect(messagesOf(whole)).toEqual(Array.from({ length: 250 }, (_, i) => `m${i}`));
  const ids = whole.events.map(({ item }) => item.id);
  expect(new Set(ids).size).toBe(250);
  const inPages: string[] = [];
  let start: EventStart = "oldest";
  for (let hasMore = true; hasMore;) {
    const page: PartitionEvents = await read(start, 70);
    expect(page.gap).toBe(false);
    inPages.push(...page.events.map(({ item }) => item.id));
    start = page.next;
    hasMore = page.hasMore;
  }
  expect(inPages).toEqual(ids);
  const [, , third] = whole.events;
  expect(messagesOf(await read(third?.position ?? "now", 1))).toEqual(["m3"]);
});

test("skips other types, and does not read them again", async () => {
  await add("m1");
  await add("m2", "message.failed");
  await add("m3");
  const page = await read("oldest", 100, new Set(["message.failed"]));
  expect(messagesOf(page)).toEqual(["m2"]);
  expect(messagesOf(await read(page.next))).toEqual([]);
});

test("`now` begins at the next event, a time at the first one since", async () => {
  const first = Number((await add("m1")).split("-")[0]);
  const { next } = await read("now");
  await store.redis.xadd(store.keys.events, `${first + 10_000}-0`, "m", "u1\t1\te\tp\t1\tm2\t1\tapns\t");
  expect(messagesOf(await read(next))).toEqual(["m2"]);
  expect(messagesOf(await read({ fromMs: first }))).toEqual(["m1", "m2"]);
  expect(messagesOf(await read({ fromMs: first + 1 }))).toEqual(["m2"]);
  const ahead = await read({ fromMs: first + 99_000 });
  expect(ahead).toMatchObject({ events: [], gap: false });
  await store.redis.xadd(store.keys.events, `${first + 10_001}-0`, "m", "u1\t1\te\tp\t1\tm3\t1\tapns\t");
  expect(messagesOf(await read(ahead.next))).toEqual(["m3"]);
});

test("reports events dropped by number or age, once, and only to affected readers", async () => {
  const { next: beginning } = await read("now");
  await add("m1");
  const { next: afterFirst } = await read(beginning);
  const dropped = await add("m2");
  const { next: afterSecond } = await read(afterFirst);
  await store.redis.xtrim(store.keys.events, "MAXLEN", 0);
  await store.redis.hset(store.keys.eventLog, "trimmed", dropped);
  expect(await read(afterSecond)).toMatchObject({ gap: false });
  const cut = await read(afterFirst);
  expect(cut).toMatchObject({ events: [], gap: true });
  expect(await read(cut.next)).toMatchObject({ gap: false });
  await add("m3");
  expect(await read("oldest")).toMatchObject({ gap: false, events: [{ item: { message: "m3" } }] });
  expect(messagesOf(await read(cut.next))).toEqual(["m3"]);
});

test("another generation is no gap if everything read has survived", async () => {
  await add("m1");
  const before = await read("oldest");
  await changeGeneration();
  await add("m2");
  const after = await read(before.next);
  expect(after.gap).toBe(false);
  expect(messagesOf(after)).toEqual(["m2"]);
  // Written before anybody noticed the new generation: the id stays the one it was first read under.
  expect((await read("oldest")).events[0]?.item.id).toBe(before.events[0]?.item.id);
});

test("reports events that were read and did not survive, once, and misses nothing after them", async () => {
  await add("m1");
  const kept = await read("oldest");
  // The last write, which the next master has never seen: its clock is behind, too.
  const { next } = kept;
  const lost = { ...next, ms: next.ms + 5_000 };
  await changeGeneration();
  await read("now");
  await add("m2");
  const after = await read(lost);
  expect(after.gap).toBe(true);
  expect(messagesOf(after)).toEqual(["m2"]);
  expect(await read(after.next)).toMatchObject({ events: [], gap: false });
});

test("reports a stream that is gone, or of another history, and reads it from its beginning", async () => {
  await add("m1");
  const { next } = await read("oldest");
  await store.redis.del(store.keys.events);
  expect(await read(next)).toMatchObject({ events: [], gap: true });
  await store.clear();
  await add("m2");
  const other = await read({ ...next, mark: next.mark - 1 });
  expect(other.gap).toBe(true);
  expect(messagesOf(other)).toEqual(["m2"]);
});

test("keeps only the newest marks, and reports a cursor of an older one", async () => {
  const { next } = await read("oldest");
  for (let i = 0; i < 20; i++) {
    await changeGeneration();
    await read("now");
  }
  expect((await store.redis.hget(store.keys.eventLog, "marks"))?.split(",")).toHaveLength(16);
  expect(await read(next)).toMatchObject({ gap: true });
});
