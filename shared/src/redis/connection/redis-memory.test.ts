// Tests what is said of Redis' memory, on a real one.
// Guarantees: used and limit are the server's own; a change of the limit shows at once; without an answer nothing is said.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { createRegistry } from "../../kernel/metrics/metrics.js";
import { startRedis, type TestRedis } from "../../testing/redis/start-redis.js";
import { connectRedis, type Redis } from "./connect.js";
import { addRedisMemoryGauges, parseRedisMemory } from "./redis-memory.js";

const registry = createRegistry("test");
let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis({ extraArgs: ["--maxmemory", "64mb"] });
  const logger = createLogger({ service: "test", level: "silent" });
  redis = await connectRedis({ url: server.url, role: "test", logger, commandTimeoutMs: 2_000 });
  addRedisMemoryGauges(registry, redis);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

async function read(): Promise<{ readonly used: number; readonly max: number }> {
  const text = await registry.metrics();
  const of = (name: string): number =>
    Number(new RegExp(`^${name}\\{server="primary",component="test"\\} (\\S+)`, "m").exec(text)?.[1]);
  return { used: of("petrel_redis_memory_used_bytes"), max: of("petrel_redis_memory_max_bytes") };
}

test("used memory grows with the data; the limit is the current one", async () => {
  const before = await read();
  expect(before.max).toBe(64 * 1024 * 1024);
  expect(before.used).toBeGreaterThan(0);
  expect(before.used).toBeLessThan(before.max);
  await redis.set("big", "x".repeat(8 * 1024 * 1024));
  expect((await read()).used).toBeGreaterThan(before.used + 8 * 1024 * 1024 - 1024 * 1024);
  await redis.config("SET", "maxmemory", "0");
  expect((await read()).max).toBe(0);
});

test("does not count buffers that Redis does not count against its limit", () => {
  const info = "used_memory:1000\r\nmaxmemory:4000\r\nmem_not_counted_for_evict:300\r\n";
  expect(parseRedisMemory(info)).toEqual({ usedBytes: 700, maxBytes: 4000 });
});

test("without an answer there are no series, but the other metrics are", async () => {
  redis.disconnect();
  const text = await registry.metrics();
  expect(text).not.toMatch(/^petrel_redis_memory_\w+\{/m);
  expect(text).toContain("process_cpu_seconds_total");
});
