// Tests of stored producer keys on a real Redis.
// Guarantees: each test has an empty database.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createLogger } from "../kernel/logging.js";
import { startRedis, type TestRedis } from "../testing/start-redis.js";
import { connectRedis, type Redis } from "./connect.js";
import { type NewProducerKey, ProducerKeysStore } from "./producer-keys-store.js";

const logger = createLogger({ service: "test", level: "silent" });
const day1 = new Date("2026-01-01T00:00:00.000Z");
const day2 = new Date("2026-01-02T00:00:00.000Z");

let server: TestRedis;
let redis: Redis;
let store: ProducerKeysStore;

beforeAll(async () => {
  server = await startRedis();
  redis = await connectRedis({ url: server.url, role: "test", logger });
  store = new ProducerKeysStore(redis);
});
beforeEach(() => redis.flushall());
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

function key(id: string, more: Partial<NewProducerKey> = {}): NewProducerKey {
  return {
    id,
    owner: "shop",
    name: "The shop's server",
    scopes: ["send", "read"],
    secretSha256: "a".repeat(64),
    ...more,
  };
}

test("a key that was created is found, and no other", async () => {
  const created = await store.create(key("k1"), day1);
  expect(created).toEqual({ ...key("k1"), createdAt: day1.toISOString() });
  expect(await store.find("k1")).toEqual(created);
  expect(await store.find("k2")).toBeUndefined();
});

test("a revoked key stays revoked: by a second revocation, a rotation, or the key file", async () => {
  await store.upsertFromFile(key("k1"), day1);
  expect(await store.revoke("k1", day1)).toBe(true);
  expect(await store.revoke("k1", day2)).toBe(true);
  expect(await store.rotate("k1", "b".repeat(64), day2)).toBeUndefined();
  await store.upsertFromFile(key("k1", { secretSha256: "c".repeat(64) }), day2);
  expect((await store.find("k1"))?.revokedAt).toBe(day1.toISOString());
  expect(await store.revoke("k2", day1)).toBe(false);
  expect(await redis.exists("petrel:{auth}:producer-key:k2")).toBe(0);
});

test("a rotation replaces the hash", async () => {
  await store.create(key("k1"), day1);
  const rotated = await store.rotate("k1", "b".repeat(64), day2);
  expect(rotated).toEqual({
    ...key("k1", { secretSha256: "b".repeat(64) }),
    createdAt: day1.toISOString(),
    rotatedAt: day2.toISOString(),
  });
  expect(await store.find("k1")).toEqual(rotated);
  expect(await store.rotate("k2", "b".repeat(64), day2)).toBeUndefined();
});

test("the key file renames and re-scopes, and brings a secret only where it has a new one", async () => {
  await store.upsertFromFile(key("k1"), day1);
  await store.rotate("k1", "b".repeat(64), day1);
  const sameFile = await store.upsertFromFile(key("k1", { name: "Renamed", scopes: ["send"] }), day2);
  expect(sameFile).toMatchObject({
    name: "Renamed",
    scopes: ["send"],
    secretSha256: "b".repeat(64),
    createdAt: day1.toISOString(),
  });
  const newFile = await store.upsertFromFile(key("k1", { secretSha256: "c".repeat(64) }), day2);
  expect(newFile.secretSha256).toBe("c".repeat(64));
});

test("the list goes on where it stopped, each key once, in order", async () => {
  const ids = ["_x", "A", "Z", "a", "a-1", "b", "zz"];
  for (const id of [...ids].reverse()) await store.create(key(id), day1);
  await store.revoke("b", day2);
  const seen: string[] = [];
  let after: string | undefined;
  for (let pages = 0; pages < 10; pages++) {
    const page = await store.list(after, 3);
    expect(page.items.length).toBeLessThanOrEqual(3);
    seen.push(...page.items.map(({ id }) => id));
    after = page.nextAfter;
    if (after === undefined) break;
  }
  expect(seen).toEqual([...ids].sort());
  expect((await store.list(undefined, 100)).items.find(({ id }) => id === "b")?.revokedAt).toBeDefined();
  expect(await store.list("zz", 3)).toEqual({ items: [], nextAfter: undefined });
  // A page that ends with the last key says so.
  expect((await store.list(undefined, 7)).nextAfter).toBeUndefined();
});

test("a scope that this release does not know is left out", async () => {
  await store.create(key("k1"), day1);
  await redis.hset("petrel:{auth}:producer-key:k1", "scopes", "send teleport");
  expect((await store.find("k1"))?.scopes).toEqual(["send"]);
});

test("without Redis it is unavailable, not unknown", async () => {
  const lost = await connectRedis({ url: server.url, role: "lost", logger });
  lost.disconnect();
  await expect(new ProducerKeysStore(lost).find("k1")).rejects.toEqual(
    expect.objectContaining({ code: "PETREL_UNAVAILABLE" }),
  );
});
