// Tests the reconciler, with a whole dispatcher.
// Guarantees: on a real Redis; the dispatcher itself restarts what hangs, counts it and tells the cases apart.
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { startDispatcher, type TestDispatcher } from "../testing/start-dispatcher.js";

const HANGING = "petrel_dispatch_hanging_users_total";
const ROUNDS = "petrel_dispatch_reconciliations_total";

let store: OpenStore;
let keys: PartitionKeys;
let running: TestDispatcher | undefined;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(() => store.clear());
afterEach(() => running?.stop());
afterAll(() => store.close());

async function start(): Promise<TestDispatcher> {
  running = await startDispatcher({
    url: store.server.url,
    dispatcherId: "a",
    partitions: store.partitions,
  });
  return running;
}

test("brings an unwatched message to its end, here through the fallback", async () => {
  const [, second] = store.partitions;
  if (second === undefined) throw new Error("no second partition");
  await store.accepter().accept(message({ userId: "u1", notification: "{}" }));
  await store.accepter().accept(message({ userId: "u2", partition: 1, notification: "{}" }));
  // As if a fault had taken them out: not waiting to be handed over, and in nobody's eye.
  await store.redis.del(keys.ready);
  await store.redis.del(second.ready);
  await store.redis.zrem(keys.due, "u1");
  await store.redis.zrem(second.due, "u2");
  const a = await start();
  for (const partition of [keys, second]) {
    await waitFor(async () => (await store.redis.xlen(partition.fallback("normal"))) === 1, {
      what: "the offer",
    });
  }
  expect(await a.count(HANGING, { reason: "unwatched" })).toBe(2);
});

test("keeps a record that a wake has not kept, as an older release's wake does not", async () => {
  const ttlMs = 5 * 86_400_000;
  await store.accepter().accept(message({ id: "m1", ttlMs }));
  await store.redis.zadd(keys.due, (await store.nowMs()) + ttlMs, "u1");
  const a = await start();
  await waitFor(async () => (await store.redis.pttl(keys.record("m1"))) > ttlMs, { what: "the record" });
  expect(await a.count(HANGING, { reason: "unwatched" })).toBe(0);
});

test("a user with broken keys does not end the round", async () => {
  await store.accepter().accept(message({ userId: "u1" }));
  await store.redis.set(keys.user("broken"), "x");
  await store.redis.zrem(keys.due, "u1");
  const a = await start();
  await waitFor(async () => (await a.count(HANGING, { reason: "unwatched" })) === 1, { what: "u1" });
  await waitFor(async () => (await a.count(HANGING, { reason: "broken" })) >= 1, { what: "the broken one" });
  const rounds = await a.count(ROUNDS);
  await waitFor(async () => (await a.count(ROUNDS)) > rounds, { what: "another round" });
});

test("counts nothing in a healthy cluster", async () => {
  await store.accepter().accept(message({ userId: "u1" }));
  const a = await start();
  await waitFor(async () => (await a.count(ROUNDS)) >= 2, { what: "two rounds" });
  expect(await a.count(HANGING, { reason: "unwatched" })).toBe(0);
  expect(await a.count(HANGING, { reason: "overdue" })).toBe(0);
});
