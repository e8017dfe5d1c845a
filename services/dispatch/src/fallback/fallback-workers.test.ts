// Tests the workers of the fallback, on a real Redis, with a recording channel: what they read, and how they stop.
// Guarantees: each message is sent once, within the concurrency; a stop settles or gives back what it holds.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { systemClock } from "@petrel/shared/kernel/clock";
import { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { ConfigError } from "@petrel/shared/kernel/config";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { DEFAULT_RECORD_KEEP_MS } from "@petrel/shared/redis/inbox/keep-records";
import type { Priority } from "@petrel/shared/protocol/messages/stored-message";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createFallbackMetrics } from "./fallback-metrics.js";
import { FallbackChain } from "./fallback-chain.js";
import { FallbackBench } from "../testing/fallback-bench.js";
import { RecordingChannel } from "../testing/recording-channel.js";

const logger = createLogger({ service: "test", level: "silent" });

let bench: FallbackBench;
beforeAll(async () => void (bench = await FallbackBench.open()));
beforeEach(() => bench.clear());
afterEach(() => bench.stopWorkers());
afterAll(() => bench.close());

test("sends a message once, with everything a channel needs, and ends it as pushed", async () => {
  const channel = new RecordingChannel();
  await bench.start([channel]);
  const { id, seq, epoch, atMs } = await bench.enter({ priority: "high", notification: '{"title":"hi"}' });
  await waitFor(bench.isSettled, { what: "the message to be settled" });
  expect(channel.jobs).toEqual([
    {
      id,
      userId: "u1",
      seq,
      epoch,
      acceptedAtMs: atMs,
      expiresAtMs: atMs + 3_600_000,
      serverNowMs: expect.any(Function) as () => number,
      priority: "high",
      notification: '{"title":"hi"}',
      attempt: 1,
    },
  ]);
  expect(await bench.stateOf(id)).toBe("pushed");
  expect((await readMessage(bench.store.scripts, bench.keys, id))?.record.end?.word).toBe("recording");
  expect(await bench.attemptsOf(id)).toMatchObject([{ channel: "recording", outcome: "taken" }]);
});

test("uses the full concurrency without a Node warning", async () => {
  const warnings: string[] = [];
  const onWarning = ({ message }: Error): void => void warnings.push(message);
  process.on("warning", onWarning);
  const channel = new RecordingChannel();
  channel.hold();
  await bench.start([channel], { concurrency: 40 });
  for (let n = 0; n < 40; n++) await bench.enter();
  await waitFor(() => channel.mostAtOnce === 40, { what: "40 sends at once" });
  channel.release();
  await waitFor(bench.isSettled, { what: "all to be settled" });
  process.off("warning", onWarning);
  expect(warnings).toEqual([]);
});

test("sends entries from before the first read of the streams, too", async () => {
  const ids = [await bench.enter(), await bench.enter({ priority: "low" })].map(({ id }) => id);
  const channel = new RecordingChannel();
  await bench.start([channel]);
  await waitFor(bench.isSettled, { what: "the messages to be settled" });
  expect(new Set(channel.ids)).toEqual(new Set(ids));
});

test("never exceeds the concurrency", async () => {
  const channel = new RecordingChannel();
  channel.hold();
  for (let i = 0; i < 30; i++) await bench.enter();
  const { workers } = await bench.start([channel], { concurrency: 4 });
  await waitFor(() => channel.jobs.length === 4, { what: "four sends" });
  expect(workers.held).toBe(4);
  channel.release();
  await waitFor(bench.isSettled, { what: "all to be settled" });
  expect(channel.jobs).toHaveLength(30);
  expect(channel.mostAtOnce).toBe(4);
});

test("at most retriesCap entries wait for a retry: the others stay in their stream, and are sent when there is room", async () => {
  let isDown = true;
  let most = 0;
  const channel = new RecordingChannel({
    answer: async () => {
      most = Math.max(most, await bench.store.redis.zcard(bench.keys.retries));
      return isDown ? { outcome: "retry", reason: "busy" } : { outcome: "taken" };
    },
  });
  const ids: string[] = [];
  for (let n = 0; n < 30; n++) ids.push((await bench.enter()).id);
  const rules = { retriesCap: 5, concurrency: 4, retry: { baseMs: 100, capMs: 100 }, maxAttempts: 1_000 };
  await bench.start([channel], rules);
  // Several attempts of each that is let in.
  await waitFor(() => channel.jobs.length >= 40, { what: "attempts", deadlineMs: 20_000 });
  expect(most).toBeGreaterThan(2);
  expect(most).toBeLessThanOrEqual(5);
  isDown = false;
  await waitFor(
    async () => (await Promise.all(ids.map(bench.stateOf))).every((state) => state === "pushed"),
    {
      what: "all to be sent",
      deadlineMs: 20_000,
    },
  );
});

test("a poke reads new entries at once, however rarely it polls", async () => {
  const channel = new RecordingChannel();
  const { workers } = await bench.start([channel], { pollMs: 60_000 });
  await bench.enter();
  await waitFor(
    () => {
      workers.poke();
      return channel.jobs.length === 1;
    },
    { what: "the send" },
  );
});

describe("by priority", () => {
  test("high goes first, and low does not starve", async () => {
    const order: Priority[] = [];
    const channel = new RecordingChannel({
      answer: ({ priority }) => {
        order.push(priority);
        return { outcome: "taken" };
      },
    });
    for (let i = 0; i < 28; i++) {
      for (const priority of ["low", "normal", "high"] as const) await bench.enter({ priority });
    }
    await bench.start([channel], { concurrency: 1 });
    await waitFor(() => order.length === 84, { what: "all sends" });
    const first = order.slice(0, 49);
    const count = (priority: Priority) => first.filter((one) => one === priority).length;
    expect([count("high"), count("normal"), count("low")]).toEqual([28, 14, 7]);
  });
});

test("retries too: a high one does not wait behind all low ones that were due before it", async () => {
  const { redis } = bench.store;
  const low = 500;
  const dueAtMs = (await bench.store.nowMs()) - 10_000;
  const ids: string[] = [];
  for (let n = 0; n < low + 20; n++) {
    const priority = n < low ? "low" : "high";
    const { id, seq, epoch } = await bench.enter({ priority });
    ids.push(id);
    const text = ["u1", seq, epoch, 1, 9e12, id, `o${priority.charAt(0)}`, '{"title":"t"}'].join("\t");
    await redis.zadd(bench.keys.retries, dueAtMs + n, `1\t${text}`);
  }
  // They wait for another attempt, and nowhere else.
  await redis.del(bench.keys.fallback("low"), bench.keys.fallback("high"));
  const channel = new RecordingChannel();
  await bench.start([channel], { concurrency: 1, pollMs: 60_000 });
  await waitFor(() => channel.jobs.length >= 35, { what: "35 sends" });
  const first = channel.jobs.slice(0, 35).map(({ id }) => id);
  const high = new Set(ids.slice(low));
  // Of five sends four are high ones, while there are any; low ones are among them.
  expect(first.slice(0, 25).filter((id) => high.has(id)).length).toBe(20);
  expect(first.filter((id) => !high.has(id)).length).toBe(15);
});

describe("a stop", () => {
  test("waits for sends in progress, and settles them", async () => {
    const channel = new RecordingChannel();
    channel.hold();
    const { workers } = await bench.start([channel], { stopDeadlineMs: 10_000 });
    const { id } = await bench.enter();
    await waitFor(() => channel.jobs.length === 1, { what: "the send" });
    const stopped = workers.stop();
    channel.release();
    await stopped;
    expect(await bench.stateOf(id)).toBe("pushed");
  });

  test("gives back at once what it cannot finish, as if it had never had it", async () => {
    const channel = new RecordingChannel();
    channel.hold();
    const { workers } = await bench.start([channel], { workerId: "going" });
    const { id } = await bench.enter();
    await waitFor(() => channel.jobs.length === 1, { what: "the send" });
    await workers.stop();
    expect(await bench.stateOf(id)).toBe("queued");
    // Not after 60 s, for which an entry may be held.
    const heir = new RecordingChannel();
    await bench.start([heir], { workerId: "heir" });
    await waitFor(async () => (await bench.stateOf(id)) === "pushed", { what: "the push" });
    expect(heir.jobs.map(({ attempt }) => attempt)).toEqual([1]);
  });

  test("leaves no worker's name behind", async () => {
    const { workers } = await bench.start([new RecordingChannel()], { workerId: "going" });
    await bench.enter();
    await waitFor(bench.isSettled, { what: "it to be settled" });
    const stream = bench.keys.fallback("normal");
    const names = async () => JSON.stringify(await bench.store.redis.xinfo("CONSUMERS", stream, "workers"));
    expect(await names()).toContain("going");
    await workers.stop();
    expect(await names()).not.toContain("going");
  });
});

describe("malformed entries", () => {
  test.each(["", "nonsense", "u1\tx\t\t\t\t\t\t", "u 1\t1\te\t1\t1\tm 1\tzz\t{"])(
    "%j does not block the others",
    async (text) => {
      const stream = bench.keys.fallback("normal");
      await bench.store.redis.xadd(stream, "*", "m", text, "n", "x");
      await bench.store.redis.xadd(stream, "*", "other", "field");
      const { id } = await bench.enter();
      const channel = new RecordingChannel();
      const { count } = await bench.start([channel], { concurrency: 1 });
      await waitFor(bench.isSettled, { what: "all to be settled" });
      expect(await bench.stateOf(id)).toBe("pushed");
      expect(await count("petrel_fallback_dropped_total", { reason: "malformed" })).toBe(2);
    },
  );
});

test("refuses to start if a slow worker could be mistaken for a dead one", () => {
  const channel = new RecordingChannel({ longestSendMs: 10_000 });
  expect(
    () =>
      new FallbackChain({
        ticks: new CommonTicks(),
        scripts: bench.store.scripts,
        partitions: bench.store.partitions,
        channels: [channel, new RecordingChannel({ name: "quick", longestSendMs: 1_000 })],
        devices: new DevicesStore(bench.store.scripts, bench.store.partitions),
        workerId: "w",
        metrics: createFallbackMetrics(createRegistry("test"), []),
        logger,
        clock: systemClock,
        concurrency: 1,
        claimMs: 19_999,
        stopDeadlineMs: 1,
        retry: { baseMs: 1, capMs: 1 },
        retriesCap: 100_000,
        maxAttempts: 1,
        deadLettersCap: 1,
        recordKeepMs: DEFAULT_RECORD_KEEP_MS,
        tracing: NO_TRACING,
      }),
  ).toThrow(
    new ConfigError("FALLBACK_CLAIM_MS must be at least 20000, twice as long as sending may take (10000 ms)"),
  );
});
