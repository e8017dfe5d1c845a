// Tests several fallback channels, one after the other, on a real Redis, with recording channels.
// Guarantees: the next is asked if one cannot reach the user; a retry begins at the channel that asked for it; one that
// hangs delays no other.
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { joinNotification } from "@petrel/shared/protocol/messages/notification-text";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ChannelAnswer } from "../channels/fallback-channel.js";
import { FallbackBench } from "../testing/fallback-bench.js";
import { RecordingChannel } from "../testing/recording-channel.js";

let bench: FallbackBench;
let devices: DevicesStore;
beforeAll(async () => {
  bench = await FallbackBench.open();
  devices = new DevicesStore(bench.store.scripts, bench.store.partitions);
});
beforeEach(() => bench.clear());
afterEach(() => bench.stopWorkers());
afterAll(() => bench.close());

const noDevice: ChannelAnswer = { outcome: "no-device" };
const busy: ChannelAnswer = { outcome: "retry", reason: "busy" };
const refused = (reason: string): ChannelAnswer => ({ outcome: "failed", cause: "rejected", reason });

const channel = (name: string, ...answers: ChannelAnswer[]) => {
  let sends = 0;
  return new RecordingChannel({
    name,
    answer: () => answers[Math.min(sends++, answers.length - 1)] ?? { outcome: "taken" },
  });
};
const timelineOf = async (id: string) =>
  (await bench.attemptsOf(id)).map((note) => [note.channel, note.outcome, note.reason]);
const settled = () => waitFor(bench.isSettled, { what: "all to be settled" });
const phone = { platform: "ios", topic: "com.example.app", environment: "production" } as const;

describe("the chain", () => {
  test("asks the next channel if one cannot deliver, and ends at the first that takes it", async () => {
    const [first, second, third] = [channel("apns", noDevice), channel("web"), channel("webhook")];
    const { id } = await bench.enter();
    await bench.start([first, second, third]);
    await settled();
    expect([first, second, third].map(({ jobs }) => jobs.length)).toEqual([1, 1, 0]);
    expect(second.jobs[0]).toMatchObject({ id, attempt: 1, notification: '{"title":"t"}' });
    expect(await bench.stateOf(id)).toBe("pushed");
    expect((await readMessage(bench.store.scripts, bench.keys, id))?.record.end?.word).toBe("web");
    expect(await timelineOf(id)).toEqual([
      ["apns", "no-device", undefined],
      ["web", "taken", undefined],
    ]);
  });

  test("asks in the given order, and only channels that the message names", async () => {
    const [first, second, third] = [channel("webhook"), channel("apns"), channel("web", noDevice)];
    const narrowed = (channels: string[]) =>
      bench.enter({ notification: joinNotification('{"title":"t"}', { channels, collapseKey: "k" }) });
    const both = await narrowed(["web", "apns"]);
    const none = await narrowed(["wechat"]);
    const all = await bench.enter();
    await bench.start([first, second, third]);
    await settled();
    expect(second.jobs.map(({ id, notification, collapseKey }) => [id, notification, collapseKey])).toEqual([
      [both.id, '{"title":"t"}', "k"],
    ]);
    expect(first.ids).toEqual([all.id]);
    expect(third.ids).toEqual([]);
    expect(await bench.stateOf(none.id)).toBe("queued");
    expect(await timelineOf(none.id)).toEqual([["wechat", "no-device", "this channel is not configured"]]);
    expect(await timelineOf(both.id)).toEqual([["apns", "taken", undefined]]);
  });

  test("does not ask a single channel if a message names another", async () => {
    const only = channel("apns");
    const wishes = { channels: ["web"] };
    const { id } = await bench.enter({ notification: joinNotification('{"title":"t"}', wishes) });
    await bench.start([only]);
    await settled();
    expect(only.jobs).toEqual([]);
    expect(await bench.stateOf(id)).toBe("queued");
    expect(await timelineOf(id)).toEqual([["web", "no-device", "this channel is not configured"]]);
  });

  test("begins a retry at the channel that asked for it", async () => {
    const [first, second] = [channel("apns", noDevice), channel("web", busy, busy, { outcome: "taken" })];
    const { id } = await bench.enter();
    await bench.start([first, second]);
    await settled();
    expect(first.jobs).toHaveLength(1);
    expect(second.jobs.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(await bench.stateOf(id)).toBe("pushed");
  });

  test("skips a channel if the user has no such device, and records it", async () => {
    const apns = new RecordingChannel({ name: "apns", platform: "ios" });
    const webhook = channel("webhook");
    await devices.register("u2", { ...phone, token: "ab".repeat(32) }, Date.now());
    const [without, has] = [await bench.enter(), await bench.enter({ userId: "u2" })];
    const { count } = await bench.start([apns, webhook]);
    await settled();
    expect(apns.ids).toEqual([has.id]);
    expect(webhook.ids).toEqual([without.id]);
    expect(await timelineOf(without.id)).toEqual([
      ["apns", "no-device", undefined],
      ["webhook", "taken", undefined],
    ]);
    expect(await count("petrel_fallback_sends_total", { channel: "apns", outcome: "no-device" })).toBe(1);
  });

  test("after a permanent failure the next channel takes it", async () => {
    const { id } = await bench.enter();
    await bench.start([channel("apns", refused("too large")), channel("web")]);
    await settled();
    expect(await bench.stateOf(id)).toBe("pushed");
    expect(await timelineOf(id)).toEqual([
      ["apns", "failed", "too large"],
      ["web", "taken", undefined],
    ]);
  });

  test("… and if none takes it, even after a retry, it fails with the first channel's failure", async () => {
    const { id } = await bench.enter({ trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" });
    await bench.start([
      channel("apns", refused("too\tlarge")),
      channel("web", busy, refused("x")),
      channel("webhook", noDevice),
    ]);
    await settled();
    expect(await bench.stateOf(id)).toBe("failed");
    const [letter] = await bench.store.redis.xrange(bench.keys.deadLetters("rejected"), "-", "+");
    expect(letter?.[1]).toEqual(expect.arrayContaining(["r", "too large"]));
  });

  test("counts attempts per channel; once they are exhausted the next one is asked", async () => {
    const [first, second] = [channel("apns", busy), channel("web", busy, { outcome: "taken" })];
    const { id } = await bench.enter();
    await bench.start([first, second], { maxAttempts: 3 });
    await settled();
    expect(first.jobs.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(second.jobs.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(await bench.stateOf(id)).toBe("pushed");
  });
});

test("a channel that hangs has its own slots and queue, and does not delay the others", async () => {
  const apns = new RecordingChannel({ name: "apns", platform: "ios" });
  apns.hold();
  const webhook = channel("webhook");
  await devices.register("u2", { ...phone, token: "ab".repeat(32) }, Date.now());
  const { workers, count } = await bench.start([apns, webhook], { concurrency: 4 });
  for (let n = 0; n < 30; n++) await bench.enter({ userId: "u2", priority: "high" });
  await waitFor(() => apns.jobs.length === 4, { what: "all places to be taken" });
  const others = [];
  for (let n = 0; n < 10; n++) others.push((await bench.enter({ priority: "low" })).id);
  await waitFor(() => webhook.jobs.length === 10, { what: "the others" });
  expect(webhook.ids.toSorted()).toEqual(others.toSorted());
  expect(apns.jobs).toHaveLength(4);
  expect(workers.sendingBy("apns")).toBe(4);
  expect(await count("petrel_fallback_sends_total", { channel: "webhook", outcome: "taken" })).toBe(10);
  apns.release();
  await settled();
  expect(apns.jobs).toHaveLength(30);
});

test("what does not fit into a full queue stays where it was, and follows when there is room", async () => {
  const first = channel("apns");
  first.hold();
  await bench.start([first, channel("web")], { concurrency: 2, retriesCap: 10 });
  for (let n = 0; n < 40; n++) await bench.enter();
  await waitFor(() => first.jobs.length === 2, { what: "the first sends" });
  const queue = bench.keys.fallback("normal", "apns");
  await waitFor(async () => (await bench.store.redis.xlen(queue)) >= 10, { what: "the queue to be full" });
  const most = await bench.store.redis.xlen(queue);
  first.release();
  await settled();
  expect(first.jobs).toHaveLength(40);
  // What was under way when it became full comes on top.
  expect(most).toBeLessThan(30);
});

test("entries of a channel that is no longer configured are passed on to the others", async () => {
  const web = channel("web", { ...busy, afterMs: 60_000 });
  const waiting = await bench.enter();
  await bench.start([channel("apns", noDevice), web]);
  await waitFor(async () => (await bench.store.redis.zcard(bench.keys.retriesOf("web"))) === 1, {
    what: "the retry",
  });
  await bench.stopWorkers();
  await bench.store.redis.zadd(
    bench.keys.retriesOf("web"),
    1,
    (await bench.store.redis.zrange(bench.keys.retriesOf("web"), "0", "0"))[0] ?? "",
  );
  const only = channel("webhook");
  await bench.start([only]);
  await settled();
  expect(only.ids).toEqual([waiting.id]);
});
