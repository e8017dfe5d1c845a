// Tests reading the backlog of owned partitions.
// Guarantees: on a real Redis.
import { once } from "node:events";
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
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

test("reads at most 200 from each partition and leaves empty ones out", async () => {
  await accept(201, 1);
  expect(shapeOf(await reader.read(held, 1))).toEqual([[1, 200]]);
  await accept(3, 0);
  expect(shapeOf(await reader.read(held, 1))).toEqual([
    [0, 3],
    [1, 200],
  ]);
});

test("a blocking read ends when something arrives or when it is interrupted, even after a reconnect", async () => {
  const reading = reader.read(held, MAX_BLOCK_MS);
  await accept(1, 1);
  expect(shapeOf(await reading)).toEqual([[1, 1]]);
  await store.clear();

  const closed = once(blocking, "close");
  blocking.disconnect(true);
  await closed;
  await waitFor(() => blocking.status === "ready", { what: "the connection to be back" });
  const reads = vi.spyOn(blocking, "xread");
  // It has not asked for its number on the new connection yet: nothing could be unblocked.
  const early = reader.read(held, MAX_BLOCK_MS);
  reader.interrupt();
  expect(await early).toEqual([]);
  expect(reads).not.toHaveBeenCalled();
  reads.mockRestore();
});

test("repeats an interruption that overtakes its read on another link until the read has ended", async () => {
  const unblocked: unknown[] = [];
  const client = store.redis.client.bind(store.redis);
  const spy = vi.spyOn(store.redis, "client").mockImplementation((async (
    ...args: Parameters<typeof client>
  ) => {
    // The first one comes too early.
    const answer = unblocked.length === 0 ? 0 : await client(...args);
    unblocked.push(answer);
    return answer;
  }) as typeof client);
  await reader.read(held, 1);
  const waiting = reader.read(held, MAX_BLOCK_MS);
  reader.interrupt();
  expect(await waiting).toEqual([]);
  expect(unblocked).toContain(1);
  spy.mockRestore();
});

test("reads fewer at a time after large messages, more again after small ones", async () => {
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
