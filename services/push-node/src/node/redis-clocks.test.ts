// Redis' clock, as a node knows it.
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RedisClocks } from "./redis-clocks.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
afterAll(() => store.close());

test("it is Redis' time, not this machine's, even between two reads", async () => {
  let [skewMs, slowMs] = [0, 0];
  const clock = { wallMs: () => 0, monotonicMs: () => performance.now() + (skewMs += slowMs) };
  const logger = createLogger({ service: "test", level: "silent" });
  const clocks = new RedisClocks({ redis: store.redis, partitions: [store.keys], clock, logger });
  expect(clocks.nowMs(store.keys)).toBeUndefined();
  const readSince = performance.now();
  await clocks.read();
  // It cannot know when within the answer's time Redis looked at its clock.
  const slackMs = 20 + performance.now() - readSince;
  const first = await readServerTimeMs(store.redis);
  const between = clocks.nowMs(store.keys) ?? 0;
  const second = await readServerTimeMs(store.redis);
  expect(between).toBeGreaterThan(first - slackMs);
  expect(between).toBeLessThan(second + slackMs);
  // A difference that no imprecision explains is believed at once, though the answer takes longer than the one before.
  [skewMs, slowMs] = [40_000, 100];
  await clocks.read();
  slowMs = 0;
  expect(Math.abs((clocks.nowMs(store.keys) ?? 0) - (await readServerTimeMs(store.redis)))).toBeLessThan(
    20_000,
  );
});
