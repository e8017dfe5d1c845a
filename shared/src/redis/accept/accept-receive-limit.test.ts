// Tests how many messages a user may get in a window, counted in the step that stores them.
// Guarantees: never more than the limit in any window; a refused message is not stored; a repetition is neither refused
// nor counted.
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { SteppedScripts } from "../../testing/redis/stepped-scripts.js";
import type { AcceptResult } from "./accept-answers.js";
import { MessageAccepter, RECEIVE_WINDOW_MS } from "./accept-batch.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

let store: OpenStore;
let scripts: SteppedScripts;
let nowMs: number;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  scripts = new SteppedScripts(store.redis);
  await moveTo(1_800_000_000_000);
});
afterAll(() => store.close());

async function moveTo(ms: number): Promise<void> {
  nowMs = ms;
  await scripts.setNow(ms);
}

function accepter(receiveLimit: number, inboxCap = 10_000): MessageAccepter {
  return new MessageAccepter({
    scripts: scripts as unknown as ScriptRunner,
    partitions: store.partitions,
    ackTimeoutMs: 10_000,
    inboxCap,
    readyCap: 100_000,
    handOver: "dispatch",
    maxInFlight: 1,
    receiveLimit,
  });
}

const SUB_MS = 500;
const outcomes = (results: readonly AcceptResult[]): string[] => results.map(({ outcome }) => outcome);
const send = (to: MessageAccepter, count: number, userId = "u1"): Promise<AcceptResult[]> =>
  Promise.all(Array.from({ length: count }, () => to.accept(message({ userId }))));

test("under random arrivals: never more than the limit in any window, and no less than a sub-window's share below it", async () => {
  const limit = 20;
  const to = accepter(limit);
  const arrivals = fc.array(
    fc.record({
      gapMs: fc.oneof(
        { weight: 5, arbitrary: fc.integer({ min: 0, max: 1_000 }) },
        { weight: 1, arbitrary: fc.integer({ min: 0, max: 15_000 }) },
      ),
      count: fc.integer({ min: 1, max: 12 }),
    }),
    { minLength: 20, maxLength: 60, size: "max" },
  );
  let run = 0;
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(arrivals, async (all) => {
      const userId = `u${run++}`;
      const stored: number[] = [];
      const sum = (sinceMs: number): number => stored.filter((atMs) => atMs > sinceMs).length;
      for (const { gapMs, count } of all) {
        await moveTo(nowMs + gapMs);
        for (const result of await send(to, count, userId)) {
          if (result.outcome === "stored") {
            stored.push(nowMs);
            expect(sum(nowMs - RECEIVE_WINDOW_MS)).toBeLessThanOrEqual(limit);
          } else {
            refused++;
            expect(result.outcome).toBe("limited");
            expect(sum(nowMs - RECEIVE_WINDOW_MS - SUB_MS)).toBeGreaterThanOrEqual(limit);
          }
        }
      }
    }),
    { numRuns: sized(30, 10), endOnFailure: true },
  );
  expect(refused).toBeGreaterThan(sized(100, 33));
});

test("stores nothing it refuses, and says when the next may come", async () => {
  const to = accepter(3);
  await send(to, 2);
  await moveTo(nowMs + 4_000);
  const before = await store.redis.xlen(store.keys.inbox("u1"));
  const results = await send(to, 3);
  expect(outcomes(results)).toEqual(["stored", "limited", "limited"]);
  expect(await store.redis.xlen(store.keys.inbox("u1"))).toBe(before + 1);
  expect(results[1]).toEqual({ outcome: "limited", retryAfterMs: 6_500 });
  await moveTo(nowMs + 6_499);
  expect(outcomes(await send(to, 1))).toEqual(["limited"]);
  await moveTo(nowMs + 1);
  expect(outcomes(await send(to, 3))).toEqual(["stored", "stored", "limited"]);
});

test("neither refuses nor counts a repeat of a stored message", async () => {
  const to = accepter(2);
  const first = message({ id: "m1" });
  await to.accept(first);
  for (let i = 0; i < 5; i++) expect(await to.accept(first)).toMatchObject({ outcome: "exists" });
  expect(outcomes(await send(to, 2))).toEqual(["stored", "limited"]);
  expect(await to.accept(first)).toMatchObject({ outcome: "exists" });
});

test("one user's limit does not affect another", async () => {
  const to = accepter(2);
  await send(to, 5, "loud");
  expect(outcomes(await send(to, 2, "quiet"))).toEqual(["stored", "stored"]);
});

test("reports a full inbox first: waiting does not empty it", async () => {
  const to = accepter(2, 2);
  expect(outcomes(await send(to, 3))).toEqual(["stored", "stored", "inbox-full"]);
});

test("a Redis clock set back an hour refuses nobody for longer than a window", async () => {
  const to = accepter(4);
  await send(to, 4);
  await moveTo(nowMs - 3_600_000);
  for (let i = 0; i < 10; i++) {
    expect(outcomes(await send(to, 1))).toEqual(["limited"]);
    await moveTo(nowMs + 1_050);
  }
  expect(outcomes(await send(to, 1))).toEqual(["stored"]);
});

test("records nothing without a limit; with one, a sub-window's start once, in bounded space", async () => {
  await send(accepter(0), 2);
  expect(await store.redis.hget(store.keys.user("u1"), "received")).toBeNull();
  const to = accepter(1_000_000);
  for (let i = 0; i < 60; i++) {
    await send(to, 3);
    await moveTo(nowMs + 300);
  }
  const notes = (await store.redis.hget(store.keys.user("u1"), "received")) ?? "";
  expect(notes.split(" ").length).toBeLessThanOrEqual(22);
});
