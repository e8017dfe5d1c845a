// Tests what is measured of Redis, on a real one.
// Guarantees: answers are timed, failures are counted by kind, and a lost link shows.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { createRegistry } from "../../kernel/metrics/metrics.js";
import { startRedis, type TestRedis } from "../../testing/redis/start-redis.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis, type Redis } from "./connect.js";
import { RedisMetrics } from "./redis-metrics.js";
import { ScriptRunner } from "../scripts/script-runner.js";

const registry = createRegistry("test");
let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis();
  const logger = createLogger({ service: "test", level: "silent" });
  redis = await connectRedis({ url: server.url, role: "test", logger, commandTimeoutMs: 2_000 });
  new RedisMetrics(registry, 4).watch(redis, "main");
});
afterAll(async () => {
  server.signal("SIGCONT");
  redis.disconnect();
  await server.stop();
});

async function valueOf(series: string): Promise<number> {
  const line = (await registry.metrics()).split("\n").find((one) => one.startsWith(`${series} `));
  return Number(line?.split(" ")[1]);
}
const answered = () => valueOf('petrel_redis_call_duration_seconds_count{link="main",component="test"}');
const failed = (reason: string) =>
  valueOf(`petrel_redis_call_failures_total{link="main",reason="${reason}",component="test"}`);

test("times answers, those of scripts too; counts refusals apart", async () => {
  const before = await answered();
  await redis.set("k", "v");
  const scripts = new ScriptRunner(redis);
  await expect(scripts.run("ack.v4", ["petrel:{p0}:due"], [100])).resolves.toBe("");
  expect(await answered()).toBeGreaterThanOrEqual(before + 2);
  await expect(redis.lpush("k", "x")).rejects.toThrow("WRONGTYPE");
  expect(await failed("refused")).toBe(1);
  expect(await valueOf('petrel_redis_link_up{link="main",component="test"}')).toBe(1);
});

test("counts a Redis that does not answer, and one that is gone", async () => {
  server.signal("SIGSTOP");
  await expect(redis.get("k")).rejects.toThrow("timed out");
  expect(await failed("timeout")).toBe(1);
  server.signal("SIGCONT");
  await redis.get("k");
  await server.stop();
  await waitFor(() => redis.status !== "ready", { what: "the link to be lost" });
  await expect(redis.get("k")).rejects.toThrow();
  expect(await failed("connection")).toBeGreaterThan(0);
  expect(await valueOf('petrel_redis_link_up{link="main",component="test"}')).toBe(0);
});
