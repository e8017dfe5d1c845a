// Tests workers of the fallback that die, and a Redis that goes away, on a real Redis.
// Guarantees: another worker takes an entry over with the same id; what was taken is not sent again.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { FallbackBench } from "../testing/fallback-bench.js";
import { RecordingChannel } from "../testing/recording-channel.js";

let bench: FallbackBench;
beforeAll(async () => void (bench = await FallbackBench.open()));
beforeEach(() => bench.clear());
afterEach(() => bench.stopWorkers());
afterAll(() => bench.close());

describe("a worker that dies", () => {
  test("while it sends: another takes the entry over and sends it with the same id", async () => {
    const dead = new RecordingChannel({ longestSendMs: 200 });
    dead.hold();
    const first = await bench.start([dead], { workerId: "dead", claimMs: 400 });
    const { id } = await bench.enter();
    await waitFor(() => dead.jobs.length === 1, { what: "the first send" });
    first.crash();

    const heir = new RecordingChannel({ longestSendMs: 200 });
    const second = await bench.start([heir], { workerId: "heir", claimMs: 400 });
    await waitFor(async () => (await bench.stateOf(id)) === "pushed", { what: "the push" });
    expect(heir.jobs.map((job) => [job.id, job.attempt])).toEqual([[id, 2]]);
    expect(await second.count("petrel_fallback_claimed_total")).toBe(1);
    expect(await bench.isSettled()).toBe(true);
  });

  test("repeatedly on the same message: that message fails in the end", async () => {
    const { id, entryId } = await bench.enter();
    const channel = new RecordingChannel({ longestSendMs: 100 });
    const stream = bench.keys.fallback("normal");
    await bench.store.redis.xgroup("CREATE", stream, "workers", "0");
    await bench.store.redis.xreadgroup("GROUP", "workers", "w0", "COUNT", 1, "STREAMS", stream, ">");
    await bench.store.redis.call(
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
    await bench.start([channel], { claimMs: 300, maxAttempts: 4 });
    await waitFor(async () => (await bench.stateOf(id)) === "failed", { what: "the failure" });
    expect(channel.jobs).toEqual([]);
    expect(await bench.store.redis.xlen(bench.keys.deadLetters("attempts-exhausted"))).toBe(1);
  });

  test("and returns after all does not settle again what another has settled", async () => {
    const slow = new RecordingChannel({ longestSendMs: 5_000 });
    slow.hold();
    const first = await bench.start([slow], { workerId: "slow", claimMs: 60_000 });
    const { id } = await bench.enter();
    await waitFor(() => slow.jobs.length === 1, { what: "the first send" });
    // For the second one so little time makes it dead.
    const heir = new RecordingChannel({
      longestSendMs: 10,
      answer: () => ({ outcome: "failed", cause: "rejected", reason: "no" }),
    });
    await bench.start([heir], { workerId: "heir", claimMs: 20 });
    await waitFor(async () => (await bench.stateOf(id)) === "failed", { what: "the failure" });
    slow.answerWith(() => ({ outcome: "retry", reason: "busy" }));
    slow.release();
    await waitFor(() => first.workers.held === 0, { what: "the first worker" });
    expect(await bench.stateOf(id)).toBe("failed");
    expect(await bench.isSettled()).toBe(true);
    expect(await bench.store.redis.xlen(bench.keys.deadLetters("rejected"))).toBe(1);
  });
});

test("records what a channel accepted and does not send it again, even if the link to Redis breaks in between", async () => {
  const channel = new RecordingChannel({
    answer: async () => {
      await bench.store.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      return { outcome: "taken" };
    },
  });
  const { id } = await bench.enter();
  await bench.start([channel]);
  await waitFor(async () => (await bench.stateOf(id)) === "pushed", { what: "the push" });
  expect(channel.jobs).toHaveLength(1);
  expect(await bench.isSettled()).toBe(true);
});

test("reads streams that were lost with their group again", async () => {
  const channel = new RecordingChannel();
  await bench.start([channel]);
  await bench.enter();
  await waitFor(() => channel.jobs.length === 1, { what: "the first send" });
  await bench.store.redis.flushall();
  await bench.enter({ priority: "low" });
  await waitFor(() => channel.jobs.length === 2, { what: "the second send" });
});
