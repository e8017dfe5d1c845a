// Tests which entries of the fallback are sent at all, on a real Redis, with a recording channel.
// Guarantees: a message that has ended is dropped; without a device or a channel it stays queued.
import { systemClock } from "@petrel/shared/kernel/clock";
import { joinNotification } from "@petrel/shared/protocol/messages/notification-text";
import { ackUsers } from "@petrel/shared/redis/inbox/ack-users";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { message } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { FallbackBench } from "../testing/fallback-bench.js";
import { RecordingChannel } from "../testing/recording-channel.js";

let bench: FallbackBench;
beforeAll(async () => void (bench = await FallbackBench.open()));
beforeEach(() => bench.clear());
afterEach(() => bench.stopWorkers());
afterAll(() => bench.close());

describe("just before sending", () => {
  const endings: Record<string, (id: string, epoch: string) => Promise<unknown>> = {
    delivered: (_id, epoch) =>
      ackUsers(bench.store.scripts, bench.keys, [{ userId: "u1", epoch, seq: 2 }], 100),
    cancelled: (id) => bench.store.redis.append(bench.keys.record(id), "\tcancelled 5"),
    pushed: (id) => bench.store.redis.append(bench.keys.record(id), "\tpushed 5 other"),
    failed: (id) => bench.store.redis.append(bench.keys.record(id), "\tfailed 5 rejected"),
    forgotten: (id) => bench.store.redis.del(bench.keys.record(id)),
  };
  test.each(Object.keys(endings))("drops a message that is %s by now", async (state) => {
    const channel = new RecordingChannel();
    channel.hold();
    // It waits in the queue behind another one, whose send takes its time.
    const { workers, count } = await bench.start([channel], { concurrency: 1 });
    await bench.enter();
    await waitFor(() => channel.jobs.length === 1, { what: "the first send" });
    const waiting = await bench.enter();
    await endings[state]?.(waiting.id, waiting.epoch);
    channel.release();
    await waitFor(bench.isSettled, { what: "both to be settled" });
    expect(channel.jobs).toHaveLength(1);
    await waitFor(() => workers.held === 0, { what: "the worker to be free" });
    expect(await count("petrel_fallback_dropped_total", { reason: state })).toBe(1);
  });

  test.each([
    ["is sent though it is delivered, and stays so", 3_600_000, "", 1],
    ["is not sent once more when it was pushed, too", 3_600_000, "\tpushed 5 other", 0],
    ["is not sent after its time", 0, "", 0],
  ])("handles one that asks for both %s", async (_what, ttlMs, end, sends) => {
    // Offered by the step that accepts it.
    const given = message({ id: "both", ttlMs, fallback: "always", notification: '{"title":"t"}' });
    const result = await bench.store.accepter().accept(given);
    const epoch = result.outcome === "stored" ? result.epoch : "";
    await ackUsers(bench.store.scripts, bench.keys, [{ userId: "u1", epoch, seq: 1 }], 100);
    await bench.store.redis.append(bench.keys.record("both"), end);
    const channel = new RecordingChannel();
    await bench.start([channel]);
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(channel.jobs).toHaveLength(sends);
    expect(await bench.stateOf("both")).toBe("delivered");
  });

  test("an expired message ends as such and is not pushed", async () => {
    const channel = new RecordingChannel();
    const { id } = await bench.enter({ ttlMs: 0 });
    await bench.start([channel]);
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(await bench.store.redis.get(bench.keys.record(id))).toMatch(/\texpired \d+$/);
    expect(channel.jobs).toEqual([]);
  });

  test("… by Redis' clock, whatever this machine's says", async () => {
    const channel = new RecordingChannel();
    const { id } = await bench.enter({ ttlMs: 0 });
    await bench.start([channel], { clock: { ...systemClock, wallMs: () => Date.now() - 3_600_000 } });
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(await bench.store.redis.get(bench.keys.record(id))).toMatch(/\texpired \d+$/);
    expect(channel.jobs).toEqual([]);
  });

  test("a message without a notification stays queued", async () => {
    const channel = new RecordingChannel();
    const { id } = await bench.enter({ notification: "" });
    await bench.start([channel]);
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(await bench.stateOf(id)).toBe("queued");
    expect(channel.jobs).toEqual([]);
  });
});

describe("if nobody can be reached", () => {
  test("without a channel the message stays queued, and its entry is removed", async () => {
    const { id } = await bench.enter();
    await bench.start([]);
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(await bench.stateOf(id)).toBe("queued");
    expect(await bench.attemptsOf(id)).toEqual([]);
  });

  test("without a device in any channel too; the attempts are recorded", async () => {
    const channels = ["one", "two"].map(
      (name) => new RecordingChannel({ name, answer: () => ({ outcome: "no-device" }) }),
    );
    const { id } = await bench.enter();
    await bench.start(channels);
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(await bench.stateOf(id)).toBe("queued");
    expect((await bench.attemptsOf(id)).map(({ channel, outcome }) => [channel, outcome])).toEqual([
      ["one", "no-device"],
      ["two", "no-device"],
    ]);
  });

  test("a superseded message stays in the inbox, and no further channel is asked", async () => {
    const first = new RecordingChannel({ name: "first", answer: () => ({ outcome: "superseded" }) });
    const second = new RecordingChannel({ name: "second" });
    const { count } = await bench.start([first, second]);
    const { id } = await bench.enter({
      notification: joinNotification('{"title":"t"}', { collapseKey: "score" }),
    });
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(await bench.stateOf(id)).toBe("queued");
    expect(first.jobs).toMatchObject([{ notification: '{"title":"t"}', collapseKey: "score" }]);
    expect(second.jobs).toEqual([]);
    expect(await bench.attemptsOf(id)).toMatchObject([{ channel: "first", outcome: "superseded" }]);
    await waitFor(
      async () => (await count("petrel_fallback_dropped_total", { reason: "superseded" })) === 1,
      {
        what: "it to be counted",
      },
    );
  });

  test("the next channel is asked, and none after one took it", async () => {
    const none = new RecordingChannel({ name: "none", answer: () => ({ outcome: "no-device" }) });
    const second = new RecordingChannel({ name: "second" });
    const third = new RecordingChannel({ name: "third" });
    const { id } = await bench.enter();
    await bench.start([none, second, third]);
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect((await readMessage(bench.store.scripts, bench.keys, id))?.record.end).toMatchObject({
      word: "second",
    });
    expect([none, second, third].map(({ jobs }) => jobs.length)).toEqual([1, 1, 0]);
  });
});
