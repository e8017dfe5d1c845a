// Tests that a recall and a worker never both win, on a real Redis, with a recording channel.
// Guarantees: while a channel is being asked the message cannot be cancelled; a cancelled one is never sent.
import { cancelMessage } from "@petrel/shared/redis/recall/cancel-message";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { FallbackBench } from "../testing/fallback-bench.js";
import { RecordingChannel } from "../testing/recording-channel.js";

let bench: FallbackBench;
beforeAll(async () => void (bench = await FallbackBench.open()));
beforeEach(() => bench.clear());
afterEach(() => bench.stopWorkers());
afterAll(() => bench.close());

const cancel = (id: string) => cancelMessage(bench.store.scripts, bench.store.scripts, bench.keys, id);
const sending = (id: string) => bench.store.redis.get(bench.keys.sending(id));

describe("while a channel is being asked", () => {
  test("the message cannot be cancelled; afterwards it is pushed, and cannot either", async () => {
    const channel = new RecordingChannel();
    channel.hold();
    const { id } = await bench.enter();
    await bench.start([channel]);
    await waitFor(() => channel.jobs.length === 1, { what: "the send" });
    expect(await cancel(id)).toEqual({ outcome: "pushing" });
    channel.release();
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(await sending(id)).toBeNull();
    expect(await cancel(id)).toEqual({ outcome: "refused", state: "pushed" });
  });

  test.each([
    ["waits for another attempt", { outcome: "retry", reason: "busy", afterMs: 60_000 }],
    ["could not be sent to any device", { outcome: "no-device" }],
  ] as const)("… and one that %s can be again", async (_what, answer) => {
    const channel = new RecordingChannel({ answer: () => answer });
    const { id } = await bench.enter();
    await bench.start([channel]);
    await waitFor(() => channel.jobs.length === 1, { what: "the send" });
    await waitFor(async () => (await sending(id)) === null, { what: "the attempt to be settled" });
    expect(await cancel(id)).toEqual({ outcome: "cancelled" });
  });

  test("a dead worker's note expires when others may take its entry over", async () => {
    const channel = new RecordingChannel({ longestSendMs: 1_000 });
    channel.hold();
    const { id } = await bench.enter();
    const { crash } = await bench.start([channel], { claimMs: 60_000 });
    await waitFor(() => channel.jobs.length === 1, { what: "the send" });
    crash();
    const ttl = await bench.store.redis.pttl(bench.keys.sending(id));
    expect(ttl).toBeGreaterThan(0);
    expect(ttl).toBeLessThanOrEqual(60_000);
    expect(await cancel(id)).toEqual({ outcome: "pushing" });
  });
});

describe("a cancelled message is not sent", () => {
  test("while it waits in its stream", async () => {
    const channel = new RecordingChannel();
    const { id } = await bench.enter();
    expect(await cancel(id)).toEqual({ outcome: "cancelled" });
    const { count } = await bench.start([channel]);
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(channel.jobs).toEqual([]);
    await waitFor(async () => (await count("petrel_fallback_dropped_total", { reason: "cancelled" })) === 1, {
      what: "it to be counted",
    });
  });

  test("while it was checked and is cancelled before the channel is asked: one script decides", async () => {
    const second = new RecordingChannel({ name: "second" });
    let cancelled: unknown;
    const { id } = await bench.enter();
    // The first channel cannot reach the user. In between the message is cancelled, once that attempt's note is gone.
    const first = new RecordingChannel({
      name: "first",
      answer: async () => {
        await bench.store.redis.del(bench.keys.sending(id));
        cancelled = await cancel(id);
        return { outcome: "no-device" };
      },
    });
    const { count } = await bench.start([first, second]);
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(cancelled).toEqual({ outcome: "cancelled" });
    expect(second.jobs).toEqual([]);
    expect(await bench.stateOf(id)).toBe("cancelled");
    await waitFor(async () => (await count("petrel_fallback_dropped_total", { reason: "cancelled" })) === 1, {
      what: "it to be counted",
    });
  });

  test("nor after a retry", async () => {
    let attempts = 0;
    const channel = new RecordingChannel({
      answer: () =>
        attempts++ === 0 ? { outcome: "retry", reason: "busy", afterMs: 300 } : { outcome: "taken" },
    });
    const { id } = await bench.enter();
    await bench.start([channel]);
    await waitFor(async () => (await bench.store.redis.zcard(bench.keys.retries)) === 1, {
      what: "the retry",
    });
    expect(await cancel(id)).toEqual({ outcome: "cancelled" });
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(channel.jobs).toHaveLength(1);
    expect(await bench.stateOf(id)).toBe("cancelled");
  });
});
