// Tests failing attempts of the fallback, on a real Redis, with a recording channel.
// Guarantees: retried with the same id, within the message's TTL, up to the last attempt; then it is a dead letter.
import { ackUsers } from "@petrel/shared/redis/inbox/ack-users";
import { readMessage } from "@petrel/shared/redis/inbox/read-message";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { FallbackBench } from "../testing/fallback-bench.js";
import { RecordingChannel } from "../testing/recording-channel.js";

let bench: FallbackBench;
beforeAll(async () => void (bench = await FallbackBench.open()));
beforeEach(() => bench.clear());
afterEach(() => bench.stopWorkers());
afterAll(() => bench.close());

describe("a failed attempt", () => {
  test("is repeated after a while, with the same id, until it is taken", async () => {
    const channel = new RecordingChannel({
      answer: ({ attempt }) => (attempt < 3 ? { outcome: "retry", reason: "busy" } : { outcome: "taken" }),
    });
    const { id } = await bench.enter();
    await bench.start([channel]);
    await waitFor(async () => (await bench.stateOf(id)) === "pushed", { what: "the push" });
    expect(channel.jobs.map((job) => [job.id, job.attempt])).toEqual([
      [id, 1],
      [id, 2],
      [id, 3],
    ]);
    expect((await bench.attemptsOf(id)).map(({ outcome, reason }) => [outcome, reason])).toEqual([
      ["retry", "busy"],
      ["retry", "busy"],
      ["taken", undefined],
    ]);
  });

  test("waits at least as long as the receiver asks for", async () => {
    const channel = new RecordingChannel({
      answer: () => ({ outcome: "retry", reason: "busy", afterMs: 120_000 }),
    });
    await bench.enter();
    await bench.start([channel]);
    await waitFor(async () => (await bench.store.redis.zcard(bench.keys.retries)) === 1, {
      what: "the retry",
    });
    const [, score] = await bench.store.redis.zrange(bench.keys.retries, "0", "0", "WITHSCORES");
    expect(Number(score)).toBeGreaterThan((await bench.store.nowMs()) + 100_000);
  });

  test("is the last one: the message fails and becomes a dead letter", async () => {
    const channel = new RecordingChannel({ answer: () => ({ outcome: "retry", reason: "busy" }) });
    const { id } = await bench.enter();
    const { count } = await bench.start([channel], { maxAttempts: 3 });
    await waitFor(async () => (await bench.stateOf(id)) === "failed", { what: "the failure" });
    expect(channel.jobs).toHaveLength(3);
    const [letter] = await bench.store.redis.xrange(bench.keys.deadLetters("attempts-exhausted"), "-", "+");
    expect(letter?.[1]).toEqual(expect.arrayContaining(["n", "3", "r", "busy"]));
    expect(await bench.isSettled()).toBe(true);
    expect(await count("petrel_fallback_failed_total", { cause: "attempts-exhausted" })).toBe(1);
  });

  test("that is permanent: the message fails at once, with the channel's cause", async () => {
    const channel = new RecordingChannel({
      answer: () => ({ outcome: "failed", cause: "rejected", reason: "too large" }),
    });
    const { id } = await bench.enter();
    await bench.start([channel]);
    await waitFor(async () => (await bench.stateOf(id)) === "failed", { what: "the failure" });
    expect(channel.jobs).toHaveLength(1);
    expect((await readMessage(bench.store.scripts, bench.keys, id))?.record.end?.word).toBe("rejected");
    expect(await bench.store.redis.xlen(bench.keys.deadLetters("rejected"))).toBe(1);
  });

  test("by a channel that throws counts, and does not stop the others", async () => {
    const bad = await bench.enter();
    const channel = new RecordingChannel({
      answer: ({ id }) => {
        if (id === bad.id) throw new Error("a bug");
        return { outcome: "taken" };
      },
    });
    const good = [await bench.enter(), await bench.enter()];
    await bench.start([channel], { maxAttempts: 2, concurrency: 1 });
    await waitFor(bench.isSettled, { what: "all to be settled" });
    expect(await bench.stateOf(bad.id)).toBe("failed");
    expect((await bench.attemptsOf(bad.id)).at(-1)?.reason).toBe("fault: a bug");
    for (const { id } of good) expect(await bench.stateOf(id)).toBe("pushed");
  });

  test("by a channel that hangs counts when its own limit has passed", async () => {
    const channel = new RecordingChannel({ longestSendMs: 50, answer: () => new Promise(() => undefined) });
    const { id } = await bench.enter();
    await bench.start([channel], { maxAttempts: 1 });
    await waitFor(async () => (await bench.stateOf(id)) === "failed", { what: "the failure" });
    expect((await bench.attemptsOf(id)).at(-1)?.reason).toBe("no answer within 50 ms");
  });

  test("is not repeated after the message's TTL: it expires", async () => {
    const channel = new RecordingChannel({
      answer: () => ({ outcome: "retry", reason: "busy", afterMs: 3_600_000 }),
    });
    // Long enough for a busy machine to send it once.
    const { id, atMs } = await bench.enter({ ttlMs: 2_000 });
    await bench.start([channel]);
    await waitFor(async () => (await bench.store.redis.zcard(bench.keys.retries)) === 1, {
      what: "the retry",
    });
    const [, score] = await bench.store.redis.zrange(bench.keys.retries, "0", "0", "WITHSCORES");
    expect(Number(score)).toBe(atMs + 2_000);
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(await bench.store.redis.get(bench.keys.record(id))).toMatch(/\texpired \d+$/);
    expect(channel.jobs).toHaveLength(1);
  });

  test("is not repeated once the message is acknowledged", async () => {
    const channel = new RecordingChannel({
      answer: () => ({ outcome: "retry", reason: "busy", afterMs: 100 }),
    });
    const { epoch } = await bench.enter();
    await bench.start([channel]);
    await waitFor(async () => (await bench.store.redis.zcard(bench.keys.retries)) === 1, {
      what: "the retry",
    });
    await ackUsers(bench.store.scripts, bench.keys, [{ userId: "u1", epoch, seq: 1 }], 100);
    await waitFor(bench.isSettled, { what: "it to be settled" });
    expect(channel.jobs).toHaveLength(1);
  });
});
