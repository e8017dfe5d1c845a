// Flow: a Redis that is always slow, behind a real link; several processes that take from one limit.
// Guarantees: each waits for Redis' answer, so together they take the limit once, not once each.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import { SlidingWindowLimiter } from "@petrel/shared/redis/limits/sliding-window-limiter";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { startFaultProxy, type FaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";

const PROCESSES = 3;
const LIMIT = 300;
/** Nothing frees up while the test runs. */
const WINDOW_MS = 600_000;
const ONE_WAY_MS = 250;
const ROUNDS = 10;

let redis: TestRedis;
let proxy: FaultProxy;
const links: Redis[] = [];
beforeAll(async () => {
  redis = await startRedis();
  proxy = await startFaultProxy({ targetPort: Number(new URL(redis.url).port) });
  const logger = createLogger({ service: "test", level: "silent" });
  for (let i = 0; i < PROCESSES; i++) {
    const url = `redis://127.0.0.1:${proxy.port}`;
    links.push(await connectRedis({ url, role: `process-${i}`, logger }));
  }
});
afterAll(async () => {
  for (const link of links) link.disconnect();
  await proxy.stop();
  await redis.stop();
});

test("half a second round trip to Redis: exactly one limit passes, whoever takes it", async () => {
  proxy.slow({ latencyMs: ONE_WAY_MS });
  const counts = new LimitCounts();
  const unanswered = (): number => counts.of("test").unanswered;
  const limiters = links.map(
    (link) =>
      new SlidingWindowLimiter({
        scripts: new ScriptRunner(link),
        name: "test",
        limit: LIMIT,
        windowMs: WINDOW_MS,
        counts,
      }),
  );
  // On a stalled machine Redis may be even slower: then each counts alone for a moment, and the round is repeated.
  for (let round = 0; round < ROUNDS; round++) {
    await Promise.all(
      limiters.map((one, i) =>
        waitFor(() => one.take(`before-${i}`, 1) instanceof Promise, {
          what: "a process that asks Redis",
          deadlineMs: 60_000,
        }),
      ),
    );
    const before = unanswered();
    const key = `key-${round}`;
    const taken = await Promise.all(
      limiters.map(async (one) => {
        let allowed = 0;
        const decisions = Array.from({ length: LIMIT }, async () => one.take(key));
        for (const decision of await Promise.all(decisions)) if (decision.allowed) allowed++;
        return allowed;
      }),
    );
    if (unanswered() > before) continue;
    expect(taken.reduce((sum, one) => sum + one, 0)).toBe(LIMIT);
    return;
  }
  expect.fail("Redis' answer was never waited for");
}, 240_000);
