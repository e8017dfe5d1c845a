// Tests reading and trimming what is not handed over yet, on a real Redis.
// Guarantees: a stale owner's trim changes nothing.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis, type Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import { takePartition } from "../partitions/partition-lease.js";
import { interruptRead, readClientId, readReady, readReadyLengths, trimReady } from "./ready-stream.js";

const logger = createLogger({ service: "test", level: "silent" });
const NO_WAIT = { maxEntries: 100, blockMs: 1 };

let store: OpenStore;
let keys: PartitionKeys;
let other: PartitionKeys;
let blocking: Redis;
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
  other = store.partitions[1] ?? keys;
  blocking = await connectRedis({
    url: store.server.url,
    role: "reader",
    logger,
    commandTimeoutMs: 0,
    silenceTimeoutMs: 60_000,
  });
});
beforeEach(() => store.clear());
afterAll(async () => {
  blocking.disconnect();
  await store.close();
});

async function accept(count: number, partition = 0): Promise<void> {
  const accepter = store.accepter();
  await Promise.all(Array.from({ length: count }, () => accepter.accept(message({ partition }))));
}

async function take(holder: string): Promise<string> {
  await store.redis.hdel(keys.owner, "holder");
  const lease = await takePartition(store.scripts, keys, holder, 60_000);
  if (lease.outcome !== "held") throw new Error("not taken");
  return lease.token;
}

const seqsOf = (
  found: Awaited<ReturnType<typeof readReady>>,
  { ready }: PartitionKeys,
): number[] | undefined => found.get(ready)?.map(({ message: { seq } }) => seq);

test("reads several partitions in one call, oldest first, at most the requested number of each", async () => {
  await accept(5);
  await accept(2, 1);
  const found = await readReady(blocking, [keys, other], { maxEntries: 3, blockMs: 1 });
  expect(seqsOf(found, keys)).toEqual([1, 2, 3]);
  expect(seqsOf(found, other)).toEqual([1, 2]);
  expect(await readReadyLengths(store.redis, [keys, other])).toEqual([5, 2]);
});

test("a trim removes up to and including the id, so that the next read continues after it", async () => {
  await accept(5);
  const token = await take("a");
  const entries = (await readReady(blocking, [keys], NO_WAIT)).get(keys.ready) ?? [];
  expect(await trimReady(store.scripts, keys, token, entries[2]?.id ?? "")).toBe(3);
  expect(seqsOf(await readReady(blocking, [keys], NO_WAIT), keys)).toEqual([4, 5]);
  expect(await trimReady(store.scripts, keys, token, entries[4]?.id ?? "")).toBe(2);
  expect((await readReady(blocking, [keys], NO_WAIT)).size).toBe(0);
});

test("refuses a stale owner's trim and changes nothing", async () => {
  await accept(3);
  const stale = await take("a");
  const current = await take("b");
  const before = await store.snapshot();
  expect(await trimReady(store.scripts, keys, stale, "9999999999999-0")).toBe("stale");
  expect(await store.snapshot()).toEqual(before);

  await store.redis.hset(keys.owner, "until", "1");
  const over = await store.snapshot();
  expect(await trimReady(store.scripts, keys, current, "9999999999999-0")).toBe("stale");
  expect(await store.snapshot()).toEqual(over);
});

test("a read that waits on an emptied stream gets what is stored next", async () => {
  await accept(1);
  await store.redis.xtrim(keys.ready, "MAXLEN", 0);
  const reading = readReady(blocking, [keys], { maxEntries: 10, blockMs: 20_000 });
  await accept(1);
  expect(seqsOf(await reading, keys)).toEqual([2]);
});

test("a read that waits ends when it is interrupted", async () => {
  const clientId = await readClientId(blocking);
  const reading = readReady(blocking, [keys], { maxEntries: 10, blockMs: 20_000 });
  let ended = false;
  void reading.then(() => (ended = true));
  await waitFor(
    async () => {
      await interruptRead(store.redis, clientId);
      return ended;
    },
    { what: "the read's end", deadlineMs: 5_000 },
  );
  expect((await reading).size).toBe(0);
});
