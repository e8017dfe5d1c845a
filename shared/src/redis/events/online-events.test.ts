// Tests the events about presence that the scripts write, on a real Redis: who is online, which topic is occupied.
// Guarantees: a user comes once and goes once, whoever looks; a version never falls.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { EventItem } from "../../protocol/events/event-item.js";
import { eventTypes } from "../../protocol/events/event-types.js";
import { openStore, routeLimits, type OpenStore } from "../../testing/redis/open-store.js";
import { connectRoute } from "../routes/connect-routes.js";
import { removeRoute } from "../routes/route-store.js";
import { removeHolder } from "../presence/remove-holder.js";
import { renewHolder, reportPresence } from "../presence/report-presence.js";
import { readPartitionEvents } from "./read-partition-events.js";
import { findDueOnline, lookOnline } from "./watch-online.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore({ events: eventTypes })));
beforeEach(() => store.clear());
afterAll(() => store.close());

async function items(): Promise<readonly EventItem[]> {
  const { events } = await readPartitionEvents(store.scripts, store.keys, "oldest", { limit: 10_000 });
  return events.map(({ item }) => item);
}

/** Type and message, or what else it is about. */
async function told(): Promise<string[]> {
  return (await items()).map(({ type, message: id, user, topic }) => `${type} ${id ?? user ?? topic ?? ""}`);
}

describe("presence of a user", () => {
  const rules = { absenceInMs: 0, settleMs: 0 };
  const connect = (connection: string, leaseMs = 30_000) =>
    connectRoute(
      store.scripts,
      store.keys,
      { userId: "u1", node: "n1", connection, platform: "web" },
      { ...routeLimits, leaseMs },
    );
  async function look(token: string, more: Partial<typeof rules> = {}): Promise<number | "stale"> {
    const { userIds } = await findDueOnline(store.redis, store.keys, 10);
    return lookOnline(store.scripts, store.keys, token, { ...rules, ...more }, userIds);
  }
  const leave = async (connection: Awaited<ReturnType<typeof connect>>, graceMs: number) => {
    if (connection.outcome === "connected") {
      await removeRoute(store.scripts, store.keys, "u1", connection.member, graceMs);
    }
  };

  test("begins with the first connection and ends with the last; a sign-out is seen at once", async () => {
    const token = await store.own();
    const first = await connect("c1");
    const second = await connect("c2");
    await leave(first, 0);
    expect(await look(token)).toBe(0);
    await leave(second, 0);
    expect(await look(token)).toBe(1);
    expect(await look(token)).toBe(0);
    await connect("c3");
    expect(await told()).toEqual(["user.online u1", "user.offline u1", "user.online u1"]);
    const versions = (await items()).map(({ data }) => data.version ?? 0);
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
    expect(new Set(versions).size).toBe(3);
  });

  test("does not end for a user who returns within the grace", async () => {
    const token = await store.own();
    await leave(await connect("c1"), 60_000);
    await store.redis.zadd(store.keys.online, 1, "u1");
    expect(await look(token)).toBe(0);
    const back = await connect("c2");
    await store.redis.zadd(store.keys.online, 1, "u1");
    expect(await look(token)).toBe(0);
    await leave(back, 0);
    expect(await look(token)).toBe(1);
    expect(await told()).toEqual(["user.online u1", "user.offline u1"]);
  });

  test("ends with the leases of a dead node, even if no check comes sooner", async () => {
    const token = await store.own();
    await connect("c1", 30_000);
    expect((await findDueOnline(store.redis, store.keys, 10)).userIds).toEqual([]);
    await store.endLeases("u1");
    await store.redis.zadd(store.keys.online, 1, "u1");
    expect(await look(token)).toBe(1);
    expect(await told()).toEqual(["user.online u1", "user.offline u1"]);
  });

  test("does not end after a failover, or while the caller's link was away", async () => {
    const token = await store.own();
    await leave(await connect("c1"), 0);
    expect(await look(token, { absenceInMs: 60_000 })).toBe(0);
    await store.redis.zadd(store.keys.online, 1, "u1");
    await store.redis.hset(store.keys.generation, { replid: "0".repeat(40), run: "another" });
    expect(await look(token, { settleMs: 60_000 })).toBe(0);
    await store.redis.zadd(store.keys.online, 1, "u1");
    expect(await look(token)).toBe(1);
  });

  test("is not changed by a former owner", async () => {
    await store.own();
    await leave(await connect("c1"), 0);
    const before = await store.snapshot();
    expect(await look("1.stale")).toBe("stale");
    expect(await store.snapshot()).toEqual(before);
  });

  test("has a version that never falls, even if the clock was set back", async () => {
    await store.redis.hset(store.keys.eventLog, "version", "9000000000000000");
    await connect("c1");
    expect((await items()).map(({ data }) => data.version)).toEqual([9_000_000_000_000_001]);
  });
});

test("a topic is occupied by its first user and vacated by its last, also on a dead node", async () => {
  const { scripts, keys } = store;
  const [one, other] = [
    { node: "n1", number: 1 },
    { node: "n2", number: 2 },
  ];
  for (const holder of [one, other]) await renewHolder(scripts, keys, { holder, leaseMs: 0, begins: true });
  const report = (holder: typeof one, version: number, user: string, connections: number | undefined) =>
    reportPresence(scripts, keys, {
      holder,
      version,
      former: undefined,
      topics: [{ topic: "room", users: [[user, connections]] }],
    });
  await report(one, 1, "u1", 1);
  await report(other, 1, "u2", 1);
  await report(one, 2, "u1", undefined);
  const token = await store.own();
  // (A lease of 0 ms is over a millisecond later.)
  await expect
    .poll(() => removeHolder(scripts, keys, token, other, { settleMs: 0 }))
    .toMatchObject({
      outcome: "done",
    });
  expect(await told()).toEqual(["topic.occupied room", "topic.vacated room"]);
  const [occupied, vacated] = await items();
  expect(vacated?.data.version).toBeGreaterThan(occupied?.data.version ?? Number.POSITIVE_INFINITY);
});
