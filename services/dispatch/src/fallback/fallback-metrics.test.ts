// Tests the metrics of the queues, without Redis.
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import type { FallbackBacklog } from "@petrel/shared/redis/fallback/fallback-queue";
import { expect, test } from "vitest";
import { addFallbackGauges } from "./fallback-metrics.js";

const since = (oldestAtMs: number | undefined): FallbackBacklog => ({
  queued: { high: 0, normal: 1, low: 0 },
  retries: 0,
  oldestAtMs,
});

/** @param ages of the oldest entry, in seconds, by queue; "" is the queue for all */
async function oldestOf(
  channels: readonly string[],
  ages: Readonly<Record<string, number>>,
  paused: readonly string[],
): Promise<number> {
  const registry = createRegistry("dispatch");
  addFallbackGauges(registry, {
    readBacklogs: (channel = "") => {
      const seconds = ages[channel];
      return Promise.resolve([since(seconds === undefined ? undefined : 1_000_000 - seconds * 1_000)]);
    },
    channels,
    sendingBy: undefined,
    isPaused: (channel) => paused.includes(channel),
    fallbackCap: 100,
    countDeadLetters: () => Promise.resolve(new Map()),
    nowMs: () => 1_000_000,
  });
  const text = await registry.metrics();
  return Number(/^petrel_fallback_oldest_seconds\{.*\} (\S+)$/m.exec(text)?.[1]);
}

test("a backlog of a paused channel is not a stall; a backlog of another one is", async () => {
  const ages = { "": 5, apns: 900, web: 30 };
  expect(await oldestOf(["apns", "web"], ages, [])).toBe(900);
  expect(await oldestOf(["apns", "web"], ages, ["apns"])).toBe(30);
  expect(await oldestOf(["apns", "web"], ages, ["apns", "web"])).toBe(5);
});

test("a single channel's messages wait in the common queue", async () => {
  expect(await oldestOf(["apns"], { "": 900 }, ["web"])).toBe(900);
  expect(await oldestOf(["apns"], { "": 900 }, ["apns"])).toBe(0);
});

test("a dispatcher without channels does not assign the queue to one", async () => {
  expect(await oldestOf([], { "": 900 }, [])).toBe(900);
  expect(await oldestOf([], { "": 900, web: 30 }, ["apns"])).toBe(30);
});
