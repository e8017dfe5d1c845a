// Tests what happens to an entry that may no longer be sent, on a real Redis.
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { DEFAULT_RECORD_KEEP_MS } from "@petrel/shared/redis/inbox/keep-records";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { readFallback } from "@petrel/shared/redis/fallback/fallback-queue";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { fallBack } from "./fall-back.js";
import type { FallBackResult, HeldEntry } from "./held-entry.js";
import { createFallbackMetrics } from "./fallback-metrics.js";
import { enterFallback } from "../testing/enter-fallback.js";
import { RecordingChannel } from "../testing/recording-channel.js";

let store: OpenStore;
let channel: RecordingChannel;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  channel = new RecordingChannel();
  await store.clear();
});
afterAll(() => store.close());

async function fallBackOne(held: Partial<HeldEntry>): Promise<FallBackResult> {
  const source = { keys: store.keys, priority: "normal" } as const;
  const [entry] = await readFallback(store.scripts, source, "w1", 1);
  if (entry === undefined) throw new Error("no entry");
  return fallBack(
    {
      scripts: store.scripts,
      channels: [channel],
      channel: channel.name,
      devices: new DevicesStore(store.scripts, store.partitions),
      metrics: createFallbackMetrics(createRegistry("test"), []),
      logger: createLogger({ service: "test", level: "silent" }),
      clock: systemClock,
      retry: { baseMs: 1, capMs: 1 },
      claimMs: 60_000,
      maxAttempts: 3,
      deadLettersCap: 10,
      recordKeepMs: DEFAULT_RECORD_KEEP_MS,
      tracing: NO_TRACING,
    },
    {
      entry,
      serverNowMs: () => Date.now(),
      sendBeforeMs: systemClock.monotonicMs() + 60_000,
      mayBegin: () => true,
      signal: new AbortController().signal,
      ...held,
    },
  );
}

const pending = async () => (await store.redis.xpending(store.keys.fallback("normal"), "workers"))[0];

test("sends and settles an entry in time", async () => {
  const { id } = await enterFallback(store);
  expect(await fallBackOne({})).toBe("settled");
  expect(channel.ids).toEqual([id]);
  expect(await pending()).toBe(0);
});

test("sends and ends an entry whose record is gone while it is open", async () => {
  const { id, seq, epoch, atMs } = await enterFallback(store);
  const [[, [, value = ""]] = ["", []]] = await store.redis.xrange(store.keys.inbox("u1"), "-", "+");
  const old = value.replace(`\t${atMs}\t`, `\t${atMs - 26 * 3_600_000}\t`);
  await store.redis.del(store.keys.inbox("u1"), store.keys.record(id));
  await store.redis.xadd(store.keys.inbox("u1"), `${seq}-0`, "m", old);
  expect(await fallBackOne({})).toBe("settled");
  expect(channel.ids).toEqual([id]);
  expect((await readMessage(store.scripts, store.keys, id))?.state).toBe("pushed");
  expect(epoch).not.toBe("");
});

test("does not send for an erased user, nor if the id belongs to another message by now", async () => {
  await enterFallback(store);
  await store.redis.del(store.keys.user("u1"), store.keys.inbox("u1"));
  expect(await fallBackOne({})).toBe("settled");
  const { id } = await enterFallback(store);
  const record = await store.redis.get(store.keys.record(id));
  await store.redis.set(store.keys.record(id), String(record).replace(/^(\d+)\t[^\t]*/, "$1\tanother.0"));
  expect(await fallBackOne({})).toBe("settled");
  expect(channel.ids).toEqual([]);
  expect(await pending()).toBe(0);
});

test.each([
  ["in a stopping process", { mayBegin: () => false }],
  ["held so long that others may take it over", { sendBeforeMs: systemClock.monotonicMs() - 1 }],
  ["when everything must end", { signal: AbortSignal.abort() }],
])("%s it is left unsent and stays pending", async (_when, held) => {
  const { id } = await enterFallback(store);
  expect(await fallBackOne(held)).toBe("left");
  expect(channel.jobs).toEqual([]);
  expect(await pending()).toBe(1);
  expect((await readMessage(store.scripts, store.keys, id))?.state).toBe("queued");
});
