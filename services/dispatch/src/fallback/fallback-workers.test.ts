// Tests the workers of the fallback, on a real Redis, with a channel that takes notes.
import { systemClock } from "@petrel/shared/kernel/clock";
import { ConfigError } from "@petrel/shared/kernel/config";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { DEFAULT_RECORD_KEEP_MS } from "@petrel/shared/redis/inbox/keep-records";
import type { Priority } from "@petrel/shared/protocol/messages/stored-message";
import { joinCollapseKey } from "@petrel/shared/protocol/messages/notification-text";
import type { MessageToAccept } from "@petrel/shared/redis/accept/accept-batch";
import { ackUsers } from "@petrel/shared/redis/inbox/ack-users";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readAttempts, readMessage } from "@petrel/shared/redis/inbox/read-message";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { FallbackChannel } from "../channels/fallback-channel.js";
import { createFallbackMetrics } from "./fallback-metrics.js";
import { FallbackWorkers, type FallbackWorkersOptions } from "./fallback-workers.js";
import { enterFallback } from "../testing/enter-fallback.js";
import { RecordingChannel } from "../testing/recording-channel.js";

const logger = createLogger({ service: "test", level: "silent" });

let store: OpenStore;
let keys: PartitionKeys;
let ends: (() => Promise<void>)[];
beforeAll(async () => {
  store = await openStore();
  ({ keys } = store);
});
beforeEach(async () => {
  ends = [];
  await store.clear();
});
afterEach(async () => {
  for (const end of ends.reverse()) await end();
});
afterAll(() => store.close());

interface TestWorkers {
  readonly workers: FallbackWorkers;
  readonly count: (name: string, labels?: Readonly<Record<string, string>>) => Promise<number>;
  /** Leaves Redis as a killed process would. */
  readonly crash: () => void;
}

async function start(
  channels: readonly FallbackChannel[],
  more: Partial<FallbackWorkersOptions> = {},
): Promise<TestWorkers> {
  const workerId = more.workerId ?? "w1";
  const redis = await connectRedis({ url: store.server.url, role: workerId, logger, commandTimeoutMs: 500 });
  const registry = createRegistry("test");
  const workers = new FallbackWorkers({
    scripts: new ScriptRunner(redis),
    partitions: store.partitions,
    channels,
    workerId,
    metrics: createFallbackMetrics(
      registry,
      channels.map(({ name }) => name),
    ),
    logger,
    clock: systemClock,
    concurrency: 16,
    claimMs: 60_000,
    stopDeadlineMs: 300,
    retry: { baseMs: 10, capMs: 50 },
    maxAttempts: 4,
    retriesCap: 100_000,
    deadLettersCap: 100,
    recordKeepMs: DEFAULT_RECORD_KEEP_MS,
    tracing: NO_TRACING,
    pollMs: 10,
    ...more,
  });
  workers.start();
  ends.push(async () => {
    await workers.stop();
    redis.disconnect();
  });
  return {
    workers,
    crash: () => redis.disconnect(),
    count: async (name, labels = {}) => {
      const metric = await registry.getSingleMetric(name)?.get();
      const found = metric?.values.filter((value) =>
        Object.entries(labels).every(([label, word]) => value.labels[label] === word),
      );
      return (found ?? []).reduce((sum, { value }) => sum + value, 0);
    },
  };
}

const enter = (parts: Partial<MessageToAccept> = {}) => enterFallback(store, parts);
const stateOf = async (id: string) => (await readMessage(store.scripts, keys, id))?.state;
const attemptsOf = (id: string) => readAttempts(store.redis, keys, id);
/** Streams, retries and what is pending: nothing of an entry is left. */
async function isSettled(): Promise<boolean> {
  const lengths = await Promise.all([
    ...(["high", "normal", "low"] as const).map((priority) => store.redis.xlen(keys.fallback(priority))),
    store.redis.zcard(keys.retries),
  ]);
  return lengths.every((length) => length === 0);
}

test("a message is sent once, with all that a channel needs, and ends pushed", async () => {
  const channel = new RecordingChannel();
  await start([channel]);
  const { id, seq, epoch, atMs } = await enter({ priority: "high", notification: '{"title":"hi"}' });
  await waitFor(isSettled, { what: "the message to be settled" });
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
  expect(await stateOf(id)).toBe("pushed");
  expect((await readMessage(store.scripts, keys, id))?.record.end?.word).toBe("recording");
  expect(await attemptsOf(id)).toMatchObject([{ channel: "recording", outcome: "taken" }]);
});

test("as many as may be are sent at once, without a complaint of Node's", async () => {
  const warnings: string[] = [];
  const onWarning = ({ message }: Error): void => void warnings.push(message);
  process.on("warning", onWarning);
  const channel = new RecordingChannel();
  channel.hold();
  await start([channel], { concurrency: 40 });
  for (let n = 0; n < 40; n++) await enter();
  await waitFor(() => channel.mostAtOnce === 40, { what: "40 sends at once" });
  channel.release();
  await waitFor(isSettled, { what: "all to be settled" });
  process.off("warning", onWarning);
  expect(warnings).toEqual([]);
});

test("what was there before anyone read the streams is sent, too", async () => {
  const ids = [await enter(), await enter({ priority: "low" })].map(({ id }) => id);
  const channel = new RecordingChannel();
  await start([channel]);
  await waitFor(isSettled, { what: "the messages to be settled" });
  expect(new Set(channel.ids)).toEqual(new Set(ids));
});

test("at most so many at a time", async () => {
  const channel = new RecordingChannel();
  channel.hold();
  for (let i = 0; i < 30; i++) await enter();
  const { workers } = await start([channel], { concurrency: 4 });
  await waitFor(() => channel.jobs.length === 4, { what: "four sends" });
  expect(workers.held).toBe(4);
  channel.release();
  await waitFor(isSettled, { what: "all to be settled" });
  expect(channel.jobs).toHaveLength(30);
  expect(channel.mostAtOnce).toBe(4);
});

test("no more wait for another attempt than may: the others stay in their stream, and are sent when there is room", async () => {
  let isDown = true;
  let most = 0;
  const channel = new RecordingChannel({
    answer: async () => {
      most = Math.max(most, await store.redis.zcard(keys.retries));
      return isDown ? { outcome: "retry", reason: "busy" } : { outcome: "taken" };
    },
  });
  const ids: string[] = [];
  for (let n = 0; n < 30; n++) ids.push((await enter()).id);
  const rules = { retriesCap: 5, concurrency: 4, retry: { baseMs: 100, capMs: 100 }, maxAttempts: 1_000 };
  await start([channel], rules);
  // Several attempts of each that is let in.
  await waitFor(() => channel.jobs.length >= 40, { what: "attempts", deadlineMs: 20_000 });
  expect(most).toBeGreaterThan(2);
  expect(most).toBeLessThanOrEqual(5);
  isDown = false;
  await waitFor(async () => (await Promise.all(ids.map(stateOf))).every((state) => state === "pushed"), {
    what: "all to be sent",
    deadlineMs: 20_000,
  });
});

test("a poke has new entries read at once, however rarely it looks by itself", async () => {
  const channel = new RecordingChannel();
  const { workers } = await start([channel], { pollMs: 60_000 });
  await enter();
  await waitFor(
    () => {
      workers.poke();
      return channel.jobs.length === 1;
    },
    { what: "the send" },
  );
});

describe("just before it is sent", () => {
  const endings: Record<string, (id: string, epoch: string) => Promise<unknown>> = {
    delivered: (_id, epoch) => ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 2 }], 100),
    cancelled: (id) => store.redis.append(keys.record(id), "\tcancelled 5"),
    pushed: (id) => store.redis.append(keys.record(id), "\tpushed 5 other"),
    failed: (id) => store.redis.append(keys.record(id), "\tfailed 5 rejected"),
    forgotten: (id) => store.redis.del(keys.record(id)),
  };
  test.each(Object.keys(endings))("one that is %s by now is dropped", async (state) => {
    const channel = new RecordingChannel();
    channel.hold();
    // It waits in the queue behind another one, whose send takes its time.
    const { workers, count } = await start([channel], { concurrency: 1 });
    await enter();
    await waitFor(() => channel.jobs.length === 1, { what: "the first send" });
    const waiting = await enter();
    await endings[state]?.(waiting.id, waiting.epoch);
    channel.release();
    await waitFor(isSettled, { what: "both to be settled" });
    expect(channel.jobs).toHaveLength(1);
    expect(workers.held).toBe(0);
    expect(await count("petrel_fallback_dropped_total", { reason: state })).toBe(1);
  });

  test.each([
    ["is sent though it is delivered, and stays so", 3_600_000, "", 1],
    ["is not sent once more when it was pushed, too", 3_600_000, "\tpushed 5 other", 0],
    ["is not sent after its time", 0, "", 0],
  ])("one that asks for both %s", async (_what, ttlMs, end, sends) => {
    // Offered by the step that accepts it.
    const given = message({ id: "both", ttlMs, fallback: "always", notification: '{"title":"t"}' });
    const result = await store.accepter().accept(given);
    const epoch = result.outcome === "stored" ? result.epoch : "";
    await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
    await store.redis.append(keys.record("both"), end);
    const channel = new RecordingChannel();
    await start([channel]);
    await waitFor(isSettled, { what: "it to be settled" });
    expect(channel.jobs).toHaveLength(sends);
    expect(await stateOf("both")).toBe("delivered");
  });

  test("one whose time is over gets that end, and is not pushed", async () => {
    const channel = new RecordingChannel();
    const { id } = await enter({ ttlMs: 0 });
    await start([channel]);
    await waitFor(isSettled, { what: "it to be settled" });
    expect(await store.redis.get(keys.record(id))).toMatch(/\texpired \d+$/);
    expect(channel.jobs).toEqual([]);
  });

  test("… by Redis' clock, wherever this machine's stands", async () => {
    const channel = new RecordingChannel();
    const { id } = await enter({ ttlMs: 0 });
    await start([channel], { clock: { ...systemClock, wallMs: () => Date.now() - 3_600_000 } });
    await waitFor(isSettled, { what: "it to be settled" });
    expect(await store.redis.get(keys.record(id))).toMatch(/\texpired \d+$/);
    expect(channel.jobs).toEqual([]);
  });

  test("one that says nothing to notify of stays queued", async () => {
    const channel = new RecordingChannel();
    const { id } = await enter({ notification: "" });
    await start([channel]);
    await waitFor(isSettled, { what: "it to be settled" });
    expect(await stateOf(id)).toBe("queued");
    expect(channel.jobs).toEqual([]);
  });
});

describe("where nobody can be reached", () => {
  test("without a channel the message stays queued, and its entry goes", async () => {
    const { id } = await enter();
    await start([]);
    await waitFor(isSettled, { what: "it to be settled" });
    expect(await stateOf(id)).toBe("queued");
    expect(await attemptsOf(id)).toEqual([]);
  });

  test("without a device in any channel, too; the attempts are noted", async () => {
    const channels = ["one", "two"].map(
      (name) => new RecordingChannel({ name, answer: () => ({ outcome: "no-device" }) }),
    );
    const { id } = await enter();
    await start(channels);
    await waitFor(isSettled, { what: "it to be settled" });
    expect(await stateOf(id)).toBe("queued");
    expect((await attemptsOf(id)).map(({ channel, outcome }) => [channel, outcome])).toEqual([
      ["one", "no-device"],
      ["two", "no-device"],
    ]);
  });

  test("superseded by a newer one: it stays for the inbox, and no further channel is asked", async () => {
    const first = new RecordingChannel({ name: "first", answer: () => ({ outcome: "superseded" }) });
    const second = new RecordingChannel({ name: "second" });
    const { count } = await start([first, second]);
    const { id } = await enter({ notification: joinCollapseKey('{"title":"t"}', "score") });
    await waitFor(isSettled, { what: "it to be settled" });
    expect(await stateOf(id)).toBe("queued");
    expect(first.jobs).toMatchObject([{ notification: '{"title":"t"}', collapseKey: "score" }]);
    expect(second.jobs).toEqual([]);
    expect(await attemptsOf(id)).toMatchObject([{ channel: "first", outcome: "superseded" }]);
    await waitFor(
      async () => (await count("petrel_fallback_dropped_total", { reason: "superseded" })) === 1,
      {
        what: "it to be counted",
      },
    );
  });

  test("the next channel is asked, and no further one after it took it", async () => {
    const none = new RecordingChannel({ name: "none", answer: () => ({ outcome: "no-device" }) });
    const second = new RecordingChannel({ name: "second" });
    const third = new RecordingChannel({ name: "third" });
    const { id } = await enter();
    await start([none, second, third]);
    await waitFor(isSettled, { what: "it to be settled" });
    expect((await readMessage(store.scripts, keys, id))?.record.end).toMatchObject({ word: "second" });
    expect([none, second, third].map(({ jobs }) => jobs.length)).toEqual([1, 1, 0]);
  });
});

describe("an attempt that failed", () => {
  test("is made again after a while, with the same id, until it is taken", async () => {
    const channel = new RecordingChannel({
      answer: ({ attempt }) => (attempt < 3 ? { outcome: "retry", reason: "busy" } : { outcome: "taken" }),
    });
    const { id } = await enter();
    await start([channel]);
    await waitFor(async () => (await stateOf(id)) === "pushed", { what: "the push" });
    expect(channel.jobs.map((job) => [job.id, job.attempt])).toEqual([
      [id, 1],
      [id, 2],
      [id, 3],
    ]);
    expect((await attemptsOf(id)).map(({ outcome, reason }) => [outcome, reason])).toEqual([
      ["retry", "busy"],
      ["retry", "busy"],
      ["taken", undefined],
    ]);
  });

  test("waits at least as long as the far side asks for", async () => {
    const channel = new RecordingChannel({
      answer: () => ({ outcome: "retry", reason: "busy", afterMs: 120_000 }),
    });
    await enter();
    await start([channel]);
    await waitFor(async () => (await store.redis.zcard(keys.retries)) === 1, { what: "the retry" });
    const [, score] = await store.redis.zrange(keys.retries, "0", "0", "WITHSCORES");
    expect(Number(score)).toBeGreaterThan((await store.nowMs()) + 100_000);
  });

  test("after the last one the message fails, and is a dead letter", async () => {
    const channel = new RecordingChannel({ answer: () => ({ outcome: "retry", reason: "busy" }) });
    const { id } = await enter();
    const { count } = await start([channel], { maxAttempts: 3 });
    await waitFor(async () => (await stateOf(id)) === "failed", { what: "the failure" });
    expect(channel.jobs).toHaveLength(3);
    const [letter] = await store.redis.xrange(keys.deadLetters("attempts-exhausted"), "-", "+");
    expect(letter?.[1]).toEqual(expect.arrayContaining(["n", "3", "r", "busy"]));
    expect(await isSettled()).toBe(true);
    expect(await count("petrel_fallback_failed_total", { cause: "attempts-exhausted" })).toBe(1);
  });

  test("for good: the message fails at once, with the channel's cause", async () => {
    const channel = new RecordingChannel({
      answer: () => ({ outcome: "failed", cause: "rejected", reason: "too large" }),
    });
    const { id } = await enter();
    await start([channel]);
    await waitFor(async () => (await stateOf(id)) === "failed", { what: "the failure" });
    expect(channel.jobs).toHaveLength(1);
    expect((await readMessage(store.scripts, keys, id))?.record.end?.word).toBe("rejected");
    expect(await store.redis.xlen(keys.deadLetters("rejected"))).toBe(1);
  });

  test("by a channel that throws counts, and does not stop the others", async () => {
    const bad = await enter();
    const channel = new RecordingChannel({
      answer: ({ id }) => {
        if (id === bad.id) throw new Error("a bug");
        return { outcome: "taken" };
      },
    });
    const good = [await enter(), await enter()];
    await start([channel], { maxAttempts: 2, concurrency: 1 });
    await waitFor(isSettled, { what: "all to be settled" });
    expect(await stateOf(bad.id)).toBe("failed");
    expect((await attemptsOf(bad.id)).at(-1)?.reason).toBe("fault: a bug");
    for (const { id } of good) expect(await stateOf(id)).toBe("pushed");
  });

  test("by a channel that hangs counts when its own limit has passed", async () => {
    const channel = new RecordingChannel({ longestSendMs: 50, answer: () => new Promise(() => undefined) });
    const { id } = await enter();
    await start([channel], { maxAttempts: 1 });
    await waitFor(async () => (await stateOf(id)) === "failed", { what: "the failure" });
    expect((await attemptsOf(id)).at(-1)?.reason).toBe("no answer within 50 ms");
  });

  test("is not made again after the message's time: it expires", async () => {
    const channel = new RecordingChannel({
      answer: () => ({ outcome: "retry", reason: "busy", afterMs: 3_600_000 }),
    });
    // Long enough for a busy machine to send it once.
    const { id, atMs } = await enter({ ttlMs: 2_000 });
    await start([channel]);
    await waitFor(async () => (await store.redis.zcard(keys.retries)) === 1, { what: "the retry" });
    const [, score] = await store.redis.zrange(keys.retries, "0", "0", "WITHSCORES");
    expect(Number(score)).toBe(atMs + 2_000);
    await waitFor(isSettled, { what: "it to be settled" });
    expect(await store.redis.get(keys.record(id))).toMatch(/\texpired \d+$/);
    expect(channel.jobs).toHaveLength(1);
  });

  test("acknowledged before the next: that one is not made", async () => {
    const channel = new RecordingChannel({
      answer: () => ({ outcome: "retry", reason: "busy", afterMs: 100 }),
    });
    const { epoch } = await enter();
    await start([channel]);
    await waitFor(async () => (await store.redis.zcard(keys.retries)) === 1, { what: "the retry" });
    await ackUsers(store.scripts, keys, [{ userId: "u1", epoch, seq: 1 }], 100);
    await waitFor(isSettled, { what: "it to be settled" });
    expect(channel.jobs).toHaveLength(1);
  });
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
      for (const priority of ["low", "normal", "high"] as const) await enter({ priority });
    }
    await start([channel], { concurrency: 1 });
    await waitFor(() => order.length === 84, { what: "all sends" });
    const first = order.slice(0, 49);
    const count = (priority: Priority) => first.filter((one) => one === priority).length;
    expect([count("high"), count("normal"), count("low")]).toEqual([28, 14, 7]);
  });
});

describe("a worker that dies", () => {
  test("while it sends: another takes the entry over, and sends it with the same id", async () => {
    const dead = new RecordingChannel({ longestSendMs: 200 });
    dead.hold();
    const first = await start([dead], { workerId: "dead", claimMs: 400 });
    const { id } = await enter();
    await waitFor(() => dead.jobs.length === 1, { what: "the first send" });
    first.crash();

    const heir = new RecordingChannel({ longestSendMs: 200 });
    const second = await start([heir], { workerId: "heir", claimMs: 400 });
    await waitFor(async () => (await stateOf(id)) === "pushed", { what: "the push" });
    expect(heir.jobs.map((job) => [job.id, job.attempt])).toEqual([[id, 2]]);
    expect(await second.count("petrel_fallback_claimed_total")).toBe(1);
    expect(await isSettled()).toBe(true);
  });

  test("again and again at the same message: that one fails at last", async () => {
    const { id, entryId } = await enter();
    const channel = new RecordingChannel({ longestSendMs: 100 });
    const stream = keys.fallback("normal");
    await store.redis.xgroup("CREATE", stream, "workers", "0");
    await store.redis.xreadgroup("GROUP", "workers", "w0", "COUNT", 1, "STREAMS", stream, ">");
    await store.redis.call(
      "XCLAIM",
      stream,
      "workers",
      "w0",
      "0",
      entryId,
      "IDLE",
      "5000",
      "RETRYCOUNT",
      "4",
    );
    await start([channel], { claimMs: 300, maxAttempts: 4 });
    await waitFor(async () => (await stateOf(id)) === "failed", { what: "the failure" });
    expect(channel.jobs).toEqual([]);
    expect(await store.redis.xlen(keys.deadLetters("attempts-exhausted"))).toBe(1);
  });

  test("and comes back after all: what another has settled it does not settle again", async () => {
    const slow = new RecordingChannel({ longestSendMs: 5_000 });
    slow.hold();
    const first = await start([slow], { workerId: "slow", claimMs: 60_000 });
    const { id } = await enter();
    await waitFor(() => slow.jobs.length === 1, { what: "the first send" });
    // For the second one so little time makes it dead.
    const heir = new RecordingChannel({
      longestSendMs: 10,
      answer: () => ({ outcome: "failed", cause: "rejected", reason: "no" }),
    });
    await start([heir], { workerId: "heir", claimMs: 20 });
    await waitFor(async () => (await stateOf(id)) === "failed", { what: "the failure" });
    slow.answerWith(() => ({ outcome: "retry", reason: "busy" }));
    slow.release();
    await waitFor(() => first.workers.held === 0, { what: "the first worker" });
    expect(await stateOf(id)).toBe("failed");
    expect(await isSettled()).toBe(true);
    expect(await store.redis.xlen(keys.deadLetters("rejected"))).toBe(1);
  });
});

describe("a stop", () => {
  test("waits for what is being sent, and settles it", async () => {
    const channel = new RecordingChannel();
    channel.hold();
    const { workers } = await start([channel], { stopDeadlineMs: 10_000 });
    const { id } = await enter();
    await waitFor(() => channel.jobs.length === 1, { what: "the send" });
    const stopped = workers.stop();
    channel.release();
    await stopped;
    expect(await stateOf(id)).toBe("pushed");
  });

  test("gives back at once what it cannot finish, as if it had never had it", async () => {
    const channel = new RecordingChannel();
    channel.hold();
    const { workers } = await start([channel], { workerId: "going" });
    const { id } = await enter();
    await waitFor(() => channel.jobs.length === 1, { what: "the send" });
    await workers.stop();
    expect(await stateOf(id)).toBe("queued");
    // Not after 60 s, for which an entry may be held.
    const heir = new RecordingChannel();
    await start([heir], { workerId: "heir" });
    await waitFor(async () => (await stateOf(id)) === "pushed", { what: "the push" });
    expect(heir.jobs.map(({ attempt }) => attempt)).toEqual([1]);
  });

  test("leaves no worker's name behind", async () => {
    const { workers } = await start([new RecordingChannel()], { workerId: "going" });
    await enter();
    await waitFor(isSettled, { what: "it to be settled" });
    const stream = keys.fallback("normal");
    const names = async () => JSON.stringify(await store.redis.xinfo("CONSUMERS", stream, "workers"));
    expect(await names()).toContain("going");
    await workers.stop();
    expect(await names()).not.toContain("going");
  });
});

describe("what nobody has written like this", () => {
  test.each(["", "nonsense", "u1\tx\t\t\t\t\t\t", "u 1\t1\te\t1\t1\tm 1\tzz\t{"])(
    "%j does not stay in the way of the others",
    async (text) => {
      const stream = keys.fallback("normal");
      await store.redis.xadd(stream, "*", "m", text, "n", "x");
      await store.redis.xadd(stream, "*", "other", "field");
      const { id } = await enter();
      const channel = new RecordingChannel();
      const { count } = await start([channel], { concurrency: 1 });
      await waitFor(isSettled, { what: "all to be settled" });
      expect(await stateOf(id)).toBe("pushed");
      expect(await count("petrel_fallback_dropped_total", { reason: "malformed" })).toBe(2);
    },
  );
});

test("what a channel took is written down, and not sent again, though the link to Redis breaks in between", async () => {
  const channel = new RecordingChannel({
    answer: async () => {
      await store.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      return { outcome: "taken" };
    },
  });
  const { id } = await enter();
  await start([channel]);
  await waitFor(async () => (await stateOf(id)) === "pushed", { what: "the push" });
  expect(channel.jobs).toHaveLength(1);
  expect(await isSettled()).toBe(true);
});

test("streams that were lost with their group are read again", async () => {
  const channel = new RecordingChannel();
  await start([channel]);
  await enter();
  await waitFor(() => channel.jobs.length === 1, { what: "the first send" });
  await store.redis.flushall();
  await enter({ priority: "low" });
  await waitFor(() => channel.jobs.length === 2, { what: "the second send" });
});

test("without room to tell the dead from the slow it does not start", () => {
  const channel = new RecordingChannel({ longestSendMs: 10_000 });
  expect(
    () =>
      new FallbackWorkers({
        scripts: store.scripts,
        partitions: store.partitions,
        channels: [channel, channel],
        workerId: "w",
        metrics: createFallbackMetrics(createRegistry("test"), []),
        logger,
        clock: systemClock,
        concurrency: 1,
        claimMs: 39_999,
        stopDeadlineMs: 1,
        retry: { baseMs: 1, capMs: 1 },
        retriesCap: 100_000,
        maxAttempts: 1,
        deadLettersCap: 1,
        recordKeepMs: DEFAULT_RECORD_KEEP_MS,
        tracing: NO_TRACING,
      }),
  ).toThrow(
    new ConfigError("FALLBACK_CLAIM_MS must be at least 40000, twice as long as sending may take (20000 ms)"),
  );
});
