// Tests what the owner of a partition does for its events, with a whole dispatcher on a real Redis.
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { eventTypes } from "@petrel/shared/protocol/events/event-types";
import { readPartitionEvents } from "@petrel/shared/redis/events/read-partition-events";
import { connectRoute } from "@petrel/shared/redis/routes/connect-routes";
import { removeRoute } from "@petrel/shared/redis/routes/route-store";
import { openStore, routeLimits, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { HeldPartition } from "../own/held-partition.js";
import { startDispatcher, type TestDispatcher } from "../testing/start-dispatcher.js";
import { createEventMetrics } from "./event-metrics.js";
import { createEventTrimmer } from "./trim-partitions.js";

const HOUR_MS = 3_600_000;

let store: OpenStore;
let running: TestDispatcher | undefined;
beforeAll(async () => void (store = await openStore({ events: eventTypes })));
beforeEach(() => store.clear());
afterEach(() => running?.stop());
afterAll(() => store.close());

async function told(): Promise<string[]> {
  const { events } = await readPartitionEvents(store.scripts, store.keys, "oldest", { limit: 1_000 });
  return events.map(({ item: { type, user } }) => `${type} ${user}`);
}

async function connect(userId: string, leaseMs: number): Promise<string> {
  const route = { userId, node: "n1", connection: "c1", platform: "web" };
  const result = await connectRoute(store.scripts, store.keys, route, { ...routeLimits, leaseMs });
  if (result.outcome !== "connected") throw new Error(result.outcome);
  return result.member;
}

test("users who left, and those of a dead node, go offline; connected users stay", async () => {
  running = await startDispatcher({
    url: store.server.url,
    dispatcherId: "a",
    partitions: store.partitions,
    events: eventTypes,
  });
  await connect("stays", 60_000);
  await connect("dies", 300);
  const member = await connect("leaves", 60_000);
  await removeRoute(store.scripts, store.keys, "leaves", member, 200);
  await waitFor(async () => (await told()).length === 5, { what: "two to be offline" });
  expect((await told()).toSorted()).toEqual([
    "user.offline dies",
    "user.offline leaves",
    "user.online dies",
    "user.online leaves",
    "user.online stays",
  ]);
  expect(await store.redis.zrange(store.keys.online, "0", "-1")).toEqual(["stays"]);
  expect(await running.count("petrel_dispatch_users_offline_total")).toBe(2);
});

test("removes events past their retention, tells their readers, and knows the oldest event's age", async () => {
  const { keys, redis, scripts } = store;
  const token = await store.own();
  const { next } = await readPartitionEvents(scripts, keys, "now", { limit: 1 });
  const nowMs = await store.nowMs();
  const text = "u1\t1\te\tp\t1\tm\t1\tapns\t";
  for (let i = 0; i < 1_500; i++) await redis.xadd(keys.events, `${nowMs - 5 * HOUR_MS}-${i + 1}`, "m", text);
  await redis.xadd(keys.events, `${nowMs - HOUR_MS}-0`, "m", text);
  const held = new HeldPartition(
    keys,
    token,
    { endsAtMs: systemClock.monotonicMs() + 60_000, serverUntilMs: 0 },
    systemClock,
  );
  const registry = createRegistry("test");
  const trimmer = createEventTrimmer({
    scripts,
    owner: { open: [held], lose: (_held, why) => expect.fail(why) },
    metrics: createEventMetrics(registry, () => [keys.partition]),
    keepMs: 2 * HOUR_MS,
    intervalMs: 60_000,
    logger: createLogger({ service: "test", level: "silent" }),
  });
  trimmer.start();
  await waitFor(async () => (await redis.xlen(keys.events)) === 1, { what: "the old ones to go" });
  await trimmer.stop();
  const page = await readPartitionEvents(scripts, keys, next, { limit: 10 });
  expect([page.gap, page.events.length]).toEqual([true, 1]);
  const metrics = await registry.metrics();
  expect(metrics).toMatch(/petrel_dispatch_events_dropped_total\S* 1500/);
  expect(metrics).toMatch(/petrel_dispatch_events_kept\S* 1\n/);
  const age = Number(/^petrel_dispatch_oldest_event_seconds\S* (\S+)$/m.exec(metrics)?.[1]);
  expect(age).toBeGreaterThanOrEqual(3_600);
  expect(age).toBeLessThan(7_200);
});
