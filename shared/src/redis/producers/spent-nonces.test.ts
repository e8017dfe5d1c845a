// Tests spent nonces on a real Redis; each test has an empty database.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { startFaultProxy } from "../../testing/faults/fault-proxy.js";
import { startRedis, type TestRedis } from "../../testing/redis/start-redis.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis, type Redis } from "../connection/connect.js";
import { NONCE_KEEP_MS, SpentNonces } from "./spent-nonces.js";

const logger = createLogger({ service: "test", level: "silent" });

let server: TestRedis;
let redis: Redis;
let other: Redis;

beforeAll(async () => {
  server = await startRedis();
  redis = await connectRedis({ url: server.url, role: "test", logger });
  other = await connectRedis({ url: server.url, role: "other", logger });
});
beforeEach(() => redis.flushall());
afterAll(async () => {
  redis.disconnect();
  other.disconnect();
  await server.stop();
});

test("a nonce is new once: for a key, on whatever process", async () => {
  const here = new SpentNonces(redis);
  const there = new SpentNonces(other);
  expect(await here.spend("k1", "n1")).toBe(true);
  expect(await here.spend("k1", "n1")).toBe(false);
  expect(await there.spend("k1", "n1")).toBe(false);
  expect(await there.spend("k1", "n2")).toBe(true);
  expect(await there.spend("k2", "n1")).toBe(true);
  // Key and nonce cannot run into each other.
  expect(await here.spend("k1n", "1")).toBe(true);
});

test("of fifty at once, one is new", async () => {
  const stores = [new SpentNonces(redis), new SpentNonces(other)];
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) => stores[i % 2]?.spend("k1", "same") ?? Promise.resolve(false)),
  );
  expect(answers.filter(Boolean)).toHaveLength(1);
});

test("is kept for longer than a signature can pass again, in constant size", async () => {
  await new SpentNonces(redis).spend("k1", "n".repeat(128));
  await new SpentNonces(redis).spend("k1", "n");
  const names = await redis.keys("*");
  expect(new Set(names.map(({ length }) => length)).size).toBe(1);
  expect(names.join(" ")).not.toContain("nnn");
  for (const name of names) {
    const leftMs = await redis.pttl(name);
    expect(leftMs).toBeGreaterThan(600_000 + 30_000);
    expect(leftMs).toBeLessThanOrEqual(NONCE_KEEP_MS);
  }
});

test("without an answer nobody is told that it is new", async () => {
  const lost = await connectRedis({ url: server.url, role: "lost", logger });
  lost.disconnect();
  await expect(new SpentNonces(lost).spend("k1", "n1")).rejects.toEqual(
    expect.objectContaining({ code: "PETREL_UNAVAILABLE" }),
  );
});

test("a write without an answer is repeated, and is still the first", async () => {
  const proxy = await startFaultProxy({ targetPort: server.port });
  const link = await connectRedis({
    url: `redis://127.0.0.1:${proxy.port}`,
    role: "test",
    logger,
    commandTimeoutMs: 1_000,
    silenceTimeoutMs: 1_500,
  });
  try {
    const patient = new SpentNonces(link, { deadlineMs: 30_000 });
    // It arrives, but the answer does not.
    proxy.stall("toClient");
    const spending = patient.spend("k1", "n1");
    await waitFor(async () => (await redis.keys("*")).length === 1, { what: "the nonce to be written" });
    proxy.heal();
    expect(await spending).toBe(true);
    expect(await patient.spend("k1", "n1")).toBe(false);

    proxy.cut();
    await expect(new SpentNonces(link).spend("k1", "n2")).rejects.toMatchObject({
      code: "PETREL_UNAVAILABLE",
    });
    const waiting = patient.spend("k1", "n2");
    proxy.heal();
    expect(await waiting).toBe(true);
  } finally {
    link.disconnect();
    await proxy.stop();
  }
});

test("counts one that an earlier release has written", async () => {
  await new SpentNonces(redis).spend("k1", "n1");
  const [name = ""] = await redis.keys("*");
  await redis.set(name, "");
  expect(await new SpentNonces(redis).spend("k1", "n1")).toBe(false);
});
