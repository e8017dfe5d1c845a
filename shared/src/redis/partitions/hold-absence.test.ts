// Tests how long nobody counts as offline after a change of generation.
// Guarantees: as long as a node says that clients are returning, and never longer than the bound.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { holdAbsence } from "./hold-absence.js";
import { takePartition } from "./partition-lease.js";
import { wakeUsers } from "../wake/wake-users.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const SETTLE_MS = 5_000;

/** Wakes an offline user with a message who is due. */
async function wake(): Promise<string | undefined> {
  const { scripts, keys, redis } = store;
  const lease = await takePartition(scripts, keys, "d1", 30_000);
  if (lease.outcome !== "held") throw new Error("not held");
  await redis.zadd(keys.due, (await store.nowMs()) - 1, "u1");
  const rules = { ackTimeoutMs: 10_000, absenceInMs: 0, settleMs: SETTLE_MS, confirmMs: 1_000 };
  const woken = await wakeUsers(scripts, keys, lease.token, rules, ["u1"]);
  return woken === "stale" ? woken : woken[0]?.outcome;
}

/** A change of generation that long ago. */
async function changed(agoMs: number): Promise<void> {
  await store.accepter().accept(message());
  await store.redis.hset(store.keys.generation, { n: "2", since: (await store.nowMs()) - agoMs });
}

test("absence counts again when the time after the change is over, unless clients are still on their way", async () => {
  await changed(2 * SETTLE_MS);
  expect(await holdAbsence(store.scripts, store.keys)).toBe(true);
  expect(await wake()).toBe("unsettled");
  await changed(2 * SETTLE_MS);
  expect(await wake()).toBe("offline");
});

test("it ends, however long they report so; the next generation starts over", async () => {
  await changed(0);
  expect(await holdAbsence(store.scripts, store.keys, 60_000)).toBe(true);
  const { held } = await store.redis.hgetall(store.keys.generation);
  expect(held).toMatch(/^2 \d+$/);
  const minuteAgo = (await store.nowMs()) - 60_001;
  await store.redis.hset(store.keys.generation, { since: minuteAgo, held: `2 ${minuteAgo}` });
  const before = await store.snapshot();
  expect(await holdAbsence(store.scripts, store.keys, 60_000)).toBe(false);
  expect(await store.snapshot()).toEqual(before);
  expect(await wake()).toBe("offline");
  await store.redis.hset(store.keys.generation, { n: "3" });
  expect(await holdAbsence(store.scripts, store.keys, 60_000)).toBe(true);
});

test("without a generation there is nothing to hold", async () => {
  expect(await holdAbsence(store.scripts, store.keys)).toBe(false);
  expect(await store.redis.dbsize()).toBe(0);
});
