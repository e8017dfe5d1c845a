// Tests that the calls of a turn leave together.
// Guarantees: in order, and none later than its turn; what another cork holds back, too; also after the link has broken.
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../kernel/logging/logging.js";
import { startRedis, type TestRedis } from "../testing/redis/start-redis.js";
import { waitFor } from "../testing/wait-for.js";
import { masterOf } from "../redis/connection/cluster-nodes.js";
import { connectRedis, type Redis } from "../redis/connection/connect.js";
import { gatherWrites } from "./gather-writes.js";

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  const logger = createLogger({ service: "test", level: "silent" });
  redis = await connectRedis({ url: server.url, role: "test", logger });
  gatherWrites(redis);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

/** Bytes that have not been given to the kernel. */
const held = (): number => masterOf(redis, "").stream.writableLength;

test("calls of a turn are held until its end, and answered in order", async () => {
  const first = redis.incr("n");
  const afterOne = held();
  const second = redis.incr("n");
  expect(afterOne).toBeGreaterThan(0);
  expect(held()).toBe(2 * afterOne);
  await turn();
  expect(held()).toBe(0);
  expect(await Promise.all([first, second])).toEqual([1, 2]);
});

test("each turn is one of its own", async () => {
  for (let round = 0; round < 3; round++) {
    const answer = redis.ping();
    expect(held()).toBeGreaterThan(0);
    await turn();
    expect(held()).toBe(0);
    await answer;
  }
});

test("goes on after the link has broken in the middle of a turn", async () => {
  const lost = redis.incr("m");
  masterOf(redis, "").stream.destroy();
  await expect(lost).rejects.toThrow();
  await waitFor(() => redis.status === "ready", { what: "the link" });
  const answer = redis.incr("m");
  expect(held()).toBeGreaterThan(0);
  await turn();
  expect(held()).toBe(0);
  expect(await answer).toBe(1);
});
