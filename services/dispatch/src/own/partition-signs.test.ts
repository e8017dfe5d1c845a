// Tests the one question about a quiet partition that several ask.
// Guarantees: one call for all who ask in the same turn, a new one in the next; what it finds, by Redis' clock; nothing
// for whoever does not own the partition.
import { systemClock } from "@petrel/shared/kernel/clock";
import { takePartition } from "@petrel/shared/redis/partitions/partition-lease";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { NotingRunner } from "@petrel/shared/testing/script-calls/noting-runner";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { HeldPartition } from "./held-partition.js";
import { PartitionSigns } from "./partition-signs.js";

let store: OpenStore;
let scripts: NotingRunner;
let signs: PartitionSigns;
let held: HeldPartition;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  scripts = new NotingRunner(store.redis);
  signs = new PartitionSigns(scripts);
  held = await take("a");
});
afterAll(() => store.close());

async function take(holder: string): Promise<HeldPartition> {
  const lease = await takePartition(store.scripts, store.keys, holder, 60_000);
  if (lease.outcome !== "held") throw new Error(lease.outcome);
  const term = { endsAtMs: Number.POSITIVE_INFINITY, serverUntilMs: 0 };
  return new HeldPartition(store.keys, lease.token, term, systemClock);
}

async function read() {
  const found = await signs.read(held);
  if (found === "stale") throw new Error(found);
  return found;
}

test("asks once for all who ask in one turn of the event loop, and anew in the next", async () => {
  const all = await Promise.all([read(), read(), read()]);
  expect(scripts.calls).toHaveLength(1);
  expect(new Set(all).size).toBe(1);
  await turn();
  await read();
  expect(scripts.calls).toHaveLength(2);
});

test("a quiet partition has nothing due, nothing scheduled, nobody present", async () => {
  const found = await read();
  expect(found).toEqual({
    nowMs: found.nowMs,
    backMs: 0,
    firstDueMs: Number.POSITIVE_INFINITY,
    firstScheduledMs: Number.POSITIVE_INFINITY,
    hasHolders: false,
  });
  expect(Math.abs(found.nowMs - (await store.nowMs()))).toBeLessThan(60_000);
});

test("tells the first user's and the first schedule's time, and whether nodes report presence", async () => {
  await store.redis.zadd(store.keys.due, 2_000, "u2", 1_000, "u1");
  await store.redis.zadd(store.keys.scheduled, 4_000, "s2", 3_000, "s1");
  await store.redis.zadd(store.keys.presenceLeases, 1, "n1/1");
  expect(await read()).toMatchObject({ firstDueMs: 1_000, firstScheduledMs: 3_000, hasHolders: true });
});

test("notes how far the clock has come, and tells that it was set back", async () => {
  const { nowMs } = await read();
  const noted = () => store.redis.hget(store.keys.generation, "at");
  expect(await noted()).toBe(String(nowMs));
  await store.redis.hset(store.keys.generation, "at", String(nowMs + 50_000));
  await turn();
  const { backMs } = await read();
  expect(backMs).toBeGreaterThan(1_000);
  expect(backMs).toBeLessThanOrEqual(50_000);
  // Only the one who has moved the times notes it.
  expect(await noted()).toBe(String(nowMs + 50_000));
});

test("one whose lease another has taken over is told so, and changes nothing", async () => {
  await store.redis.hset(store.keys.owner, "until", "0");
  await take("b");
  await store.redis.del(store.keys.generation);
  const before = await store.snapshot();
  expect(await signs.read(held)).toBe("stale");
  expect(await store.snapshot()).toEqual(before);
});
