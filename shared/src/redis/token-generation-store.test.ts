// Tests of users' token generations on a real Redis.
// Guarantees: a generation lies in its user's partition.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../kernel/logging.js";
import { partitionOfUser } from "../protocol/partition.js";
import { startRedis, type TestRedis } from "../testing/start-redis.js";
import { connectRedis, type Redis } from "./connect.js";
import { TokenGenerationStore } from "./token-generation-store.js";

const logger = createLogger({ service: "test", level: "silent" });
let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis();
  redis = await connectRedis({ url: server.url, role: "test", logger });
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

test("it begins at 0 without taking room, and grows for one user alone", async () => {
  const store = new TokenGenerationStore(redis, 4);
  expect(await store.read("alice")).toBe(0);
  expect(await redis.dbsize()).toBe(0);
  expect(await store.increment("alice")).toBe(1);
  expect(await store.increment("alice")).toBe(2);
  expect(await store.read("alice")).toBe(2);
  expect(await store.read("bob")).toBe(0);
  expect(await redis.keys("*")).toEqual([`petrel:{p${partitionOfUser("alice", 4)}}:token-generation:alice`]);
});
