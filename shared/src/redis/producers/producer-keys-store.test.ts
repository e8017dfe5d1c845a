// Tests stored producer keys on a real Redis; each test has an empty database.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { startRedis, type TestRedis } from "../../testing/redis/start-redis.js";
import { waitFor } from "../../testing/wait-for.js";
import { authKeys } from "../auth/auth-keys.js";
import { connectRedis, type Redis } from "../connection/connect.js";
import { type NewProducerKey, ProducerKeysReader, ProducerKeysStore } from "./producer-keys-store.js";
import { rotateProducerKey } from "./rotate-producer-key.js";
import { ScriptRunner } from "../scripts/script-runner.js";

const logger = createLogger({ service: "test", level: "silent" });
const day1 = new Date("2026-01-01T00:00:00.000Z");
const day2 = new Date("2026-01-02T00:00:00.000Z");

let server: TestRedis;
let redis: Redis;
let store: ProducerKeysStore;
let scripts: ScriptRunner;

beforeAll(async () => {
  server = await startRedis();
  redis = await connectRedis({ url: server.url, role: "test", logger });
  scripts = new ScriptRunner(redis);
  store = new ProducerKeysStore(scripts);
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

function rotate(id: string, digit: string, overlapMs = 0) {
  const secretSha256 = digit.repeat(64);
  return rotateProducerKey(scripts, id, {
    secretSha256,
    sealedSecret: `sealed.${digit}`,
    overlapMs,
    rotatedAt: day2,
  });
}

test("finds a created key, and no other", async () => {
  const created = await store.create(key("k1"), day1);
  expect(created).toEqual({ ...key("k1"), createdAt: day1.toISOString() });
  expect(await store.find("k1")).toEqual(created);
  expect(await store.find("k2")).toBeUndefined();
});

test("a revoked key stays revoked after a second revocation, a rotation, or the key file", async () => {
  await store.upsertFromFile(key("k1"), day1);
  expect(await store.revoke("k1", day1)).toBe(true);
  expect(await store.revoke("k1", day2)).toBe(true);
  expect(await rotate("k1", "b")).toBe("revoked");
  await store.upsertFromFile(key("k1", { secretSha256: "c".repeat(64) }), day2);
  expect((await store.find("k1"))?.revokedAt).toBe(day1.toISOString());
  expect(await store.revoke("k2", day1)).toBe(false);
  expect(await redis.exists("petrel:{auth}:producer-key:k2")).toBe(0);
});

test("a rotation replaces the hash", async () => {
  await store.create(key("k1"), day1);
  expect(await rotate("k1", "b")).toBe("rotated");
  expect(await store.find("k1")).toEqual({
    ...key("k1", { secretSha256: "b".repeat(64) }),
    createdAt: day1.toISOString(),
    rotatedAt: day2.toISOString(),
  });
  expect(await rotate("k2", "b")).toBe("missing");
  expect(await redis.exists("petrel:{auth}:producer-key:k2")).toBe(0);
});

test("a signing key also has its sealed secret, its limit, and what it requires; created twice it is the same", async () => {
  const signing = key("k1", {
    sealedSecret: "sealed.a",
    require: "signature",
    messagesPerSecond: "unlimited",
  });
  const created = await store.create(signing, day1);
  await store.create(signing, day1);
  expect(created).toEqual({ ...signing, createdAt: day1.toISOString() });
  expect(await store.find("k1")).toEqual(created);
  expect((await store.list(undefined, 10)).items).toEqual([created]);
  // A requirement of a newer release: at least a signature is required.
  await redis.hset("petrel:{auth}:producer-key:k1", "require", "certificate");
  expect((await store.find("k1"))?.require).toBe("signature");
});

test("only a key that may sign keeps the sealed secret of its rotation", async () => {
  await store.create(key("plain"), day1);
  await rotate("plain", "b");
  expect(await store.find("plain")).not.toHaveProperty("sealedSecret");
  await store.create(key("signs", { sealedSecret: "sealed.a" }), day1);
  await rotate("signs", "b");
  expect((await store.find("signs"))?.sealedSecret).toBe("sealed.b");
});

test("with an overlap the previous secret stays, by Redis' clock; without one it ends, and earlier ones too", async () => {
  await store.create(key("k1", { sealedSecret: "sealed.a" }), day1);
  const beforeMs = Number((await redis.time())[0]) * 1_000;
  await rotate("k1", "b", 60_000);
  const [former, ...others] = (await store.find("k1"))?.former ?? [];
  expect(others).toEqual([]);
  expect(former).toMatchObject({ secretSha256: "a".repeat(64), sealedSecret: "sealed.a" });
  expect(former?.untilMs).toBeGreaterThanOrEqual(beforeMs + 60_000);
  expect(former?.untilMs).toBeLessThan(beforeMs + 600_000);

  await rotate("k1", "c", 60_000);
  expect((await store.find("k1"))?.former?.map(({ secretSha256 }) => secretSha256[0])).toEqual(["b", "a"]);
  // The same call again, because its answer was lost: nothing moves.
  const once = await store.find("k1");
  expect(await rotate("k1", "c", 60_000)).toBe("rotated");
  expect(await store.find("k1")).toEqual(once);
  // Bounded: the oldest go.
  for (const digit of ["d", "e", "f", "0"]) await rotate("k1", digit, 60_000);
  expect((await store.find("k1"))?.former?.map(({ secretSha256 }) => secretSha256[0])).toEqual([
    "f",
    "e",
    "d",
    "c",
  ]);
  await rotate("k1", "1");
  expect(await store.find("k1")).toMatchObject({ secretSha256: "1".repeat(64) });
  expect(await store.find("k1")).not.toHaveProperty("former");
});

test("a former secret whose time is over is removed by the next rotation", async () => {
  await store.create(key("k1"), day1);
  await rotate("k1", "b", 1);
  const [former] = (await store.find("k1"))?.former ?? [];
  await waitFor(async () => Number((await redis.time())[0]) * 1_000 > (former?.untilMs ?? 0), {
    what: "the overlap to end",
  });
  await rotate("k1", "c", 60_000);
  expect((await store.find("k1"))?.former?.map(({ secretSha256 }) => secretSha256[0])).toEqual(["b"]);
});

test("with concurrent rotations with an overlap, every returned secret works", async () => {
  await store.create(key("k1"), day1);
  await Promise.all(["b", "c", "d"].map((digit) => rotate("k1", digit, 60_000)));
  const record = await store.find("k1");
  const good = [record?.secretSha256, ...(record?.former ?? []).map(({ secretSha256 }) => secretSha256)];
  expect(new Set(good.map((sha256) => sha256?.[0]))).toEqual(new Set(["a", "b", "c", "d"]));
});

test("the key file changes names and scopes, and brings a secret only if it has a new one", async () => {
  await store.upsertFromFile(key("k1"), day1);
  await rotate("k1", "b");
  const sameFile = await store.upsertFromFile(key("k1", { name: "Renamed", scopes: ["send"] }), day2);
  expect(sameFile.record).toMatchObject({
    name: "Renamed",
    scopes: ["send"],
    secretSha256: "b".repeat(64),
    createdAt: day1.toISOString(),
  });
  const newFile = await store.upsertFromFile(key("k1", { secretSha256: "c".repeat(64) }), day2);
  expect(newFile.record.secretSha256).toBe("c".repeat(64));
});

test("the key file says whether its key may sign, must, and its limit; what it omits is removed", async () => {
  const full = key("k1", { sealedSecret: "sealed.1", require: "signature", messagesPerSecond: 7 });
  expect((await store.upsertFromFile(key("k1"), day1)).change).toBe("created");
  const now = await store.upsertFromFile(full, day1);
  expect(now).toEqual({ record: { ...full, createdAt: day1.toISOString() }, change: "changed" });
  // Each seal is different; only one by a present encryption key opens.
  const sealedAnew = await store.upsertFromFile({ ...full, sealedSecret: "sealed.2" }, day2);
  expect(sealedAnew).toMatchObject({ record: { sealedSecret: "sealed.2" }, change: "none" });
  const less = await store.upsertFromFile(key("k1"), day2);
  expect(less).toEqual({ record: { ...key("k1"), createdAt: day1.toISOString() }, change: "changed" });
});

test("a key of the file that was rotated since keeps the sealed secret of its rotation", async () => {
  const signing = key("k1", { sealedSecret: "sealed.a" });
  await store.upsertFromFile(signing, day1);
  await rotate("k1", "b", 60_000);
  const { record } = await store.upsertFromFile(signing, day2);
  expect(record).toMatchObject({ secretSha256: "b".repeat(64), sealedSecret: "sealed.b" });
  expect(record.former).toHaveLength(1);
  // A new secret in the file ends them all.
  const renewed = await store.upsertFromFile(key("k1", { secretSha256: "c".repeat(64) }), day2);
  expect(renewed.record).not.toHaveProperty("former");
  expect(renewed.record).not.toHaveProperty("sealedSecret");
});

test("the list continues where it stopped, each key once, in order", async () => {
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

test("ignores a scope that this release does not know", async () => {
  await store.create(key("k1"), day1);
  await redis.hset("petrel:{auth}:producer-key:k1", "scopes", "send teleport");
  expect((await store.find("k1"))?.scopes).toEqual(["send"]);
});

test("without Redis a key is unavailable, not unknown", async () => {
  const lost = await connectRedis({ url: server.url, role: "lost", logger });
  lost.disconnect();
  await expect(new ProducerKeysReader(lost).find("k1")).rejects.toEqual(
    expect.objectContaining({ code: "PETREL_UNAVAILABLE" }),
  );
});

test("keeps a limit of 0, of any number, and none; a previous release's record reads as it meant", async () => {
  for (const messagesPerSecond of [0, 1, 500, "unlimited"] as const) {
    await store.create(key("k1", { messagesPerSecond }), day1);
    expect((await store.find("k1"))?.messagesPerSecond).toBe(messagesPerSecond);
    await redis.flushall();
  }
  await store.create(key("k1"), day1);
  expect(await store.find("k1")).not.toHaveProperty("messagesPerSecond");
  // It wrote 0 for no limit, and reads whatever is not above 0 as no limit.
  await redis.hset(authKeys.producerKey("k1"), "messagesPerSecond", "0");
  expect((await store.find("k1"))?.messagesPerSecond).toBe("unlimited");
});

test("creates, takes over, rotates and revokes even when Redis is out of memory", async () => {
  await redis.config("SET", "maxmemory", "1");
  try {
    await store.create(key("k1"), day1);
    expect((await store.upsertFromFile(key("k2"), day1)).change).toBe("created");
    expect((await store.upsertFromFile(key("k2"), day2)).change).toBe("none");
    const secret = { secretSha256: "b".repeat(64), sealedSecret: "", overlapMs: 0, rotatedAt: day2 };
    expect(await rotateProducerKey(scripts, "k1", secret)).toBe("rotated");
    expect(await store.revoke("k1", day2)).toBe(true);
    expect(await store.find("k1")).toMatchObject({
      secretSha256: secret.secretSha256,
      revokedAt: day2.toISOString(),
    });
  } finally {
    await redis.config("SET", "maxmemory", "0");
  }
});
