// Tests reading what waits in the owned partitions.
// Guarantees: on a real Redis.
import { once } from "node:events";
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { HeldPartition } from "../own/held-partition.js";
import { MAX_BLOCK_MS, ReadyReader } from "./read-ready.js";

const logger = createLogger({ service: "test", level: "silent" });

let store: OpenStore;
let blocking: Redis;
let reader: ReadyReader;
let held: HeldPartition[];
beforeAll(async () => {
  store = await openStore();
  blocking = await connectRedis({ url: store.server.url, role: "reader", logger, commandTimeoutMs: 0 });
  reader = new ReadyReader({ blocking, commands: store.redis, logger });
  const term = { endsAtMs: Number.POSITIVE_INFINITY, serverUntilMs: 0 };
  held = store.partitions.map((keys) => new HeldPartition(keys, "1.x", term, systemClock));
});
beforeEach(() => store.clear());
afterAll(async () => {
  blocking.disconnect();
  await store.close();
});

async function accept(count: number, partition: number): Promise<void> {
  const accepter = store.accepter({ handOver: "dispatch" });
  await Promise.all(Array.from({ length: count }, () => accepter.accept(message({ partition }))));
}

const shapeOf = (batches: Awaited<ReturnType<ReadyReader["read"]>>): [number, number][] =>
  batches.map((batch) => [batch.held.keys.partition, batch.entries.length]);

test("at most 200 of each partition; those without any are left out", async () => {
  await accept(201, 1);
  expect(shapeOf(await reader.read(held, 1))).toEqual([[1, 200]]);
  await accept(3, 0);
  expect(shapeOf(await reader.read(held, 1))).toEqual([
    [0, 3],
    [1, 200],
  ]);
});

test("a read that waits ends when something comes, or when it is interrupted, also after a reconnect", async () => {
  const reading = reader.read(held, MAX_BLOCK_MS);
  await accept(1, 1);
  expect(shapeOf(await reading)).toEqual([[1, 1]]);
  await store.clear();

  const closed = once(blocking, "close");
  blocking.disconnect(true);
  await closed;
  await waitFor(() => blocking.status === "ready", { what: "the connection to be back" });
  // By itself it would outlast the test.
  const waiting = reader.read(held, 100 * MAX_BLOCK_MS);
  let ended = false;
  void waiting.then(() => (ended = true));
  await waitFor(
    () => {
      reader.interrupt();
      return ended;
    },
    { what: "the read's end", everyMs: 5 },
  );
  expect(await waiting).toEqual([]);
});

test("after large messages fewer are read at a time, after small ones more again", async () => {
  const large = `"${"x".repeat(60_000)}"`;
  const accepter = store.accepter({ handOver: "dispatch" });
  for (let i = 0; i < 60; i++) void accepter.accept(message({ partition: 0, userId: `u${i}`, data: large }));
  await waitFor(async () => (await store.redis.xlen(store.keys.ready)) === 60, { what: "all to be stored" });
  expect(shapeOf(await reader.read(held, 1))).toEqual([[0, 60]]);
  expect(shapeOf(await reader.read(held, 1))).toEqual([[0, 17]]);
  await store.clear();
  await accept(201, 0);
  expect(shapeOf(await reader.read(held, 1))).toEqual([[0, 17]]);
  expect(shapeOf(await reader.read(held, 1))).toEqual([[0, 200]]);
});
