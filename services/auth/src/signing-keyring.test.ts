// Tests of the key that signs, on a real Redis, with several auth processes' keyrings at once.
// Guarantees: what one signs, all can check.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging";
import { connectRedis, type Redis } from "@petrel/shared/redis/connect";
import { SigningKeysStore } from "@petrel/shared/redis/signing-keys-store";
import { createAtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { createSignToken } from "@petrel/shared/security/sign-token";
import { createVerifyToken } from "@petrel/shared/security/verify-token";
import { startRedis, type TestRedis } from "@petrel/shared/testing/start-redis";
import { SigningKeyring } from "./signing-keyring.js";

const logger = createLogger({ service: "test", level: "silent" });
const encryptionKey = randomBytes(32);
const tokens = { issuer: "petrel", audience: "petrel", clock: systemClock };
const sign = createSignToken(tokens);

let server: TestRedis;
let connections: Redis[];

beforeAll(async () => {
  server = await startRedis();
  connections = await Promise.all(
    Array.from({ length: 4 }, (_, i) => connectRedis({ url: server.url, role: `test-${i}`, logger })),
  );
});
beforeEach(async () => {
  await connections[0]?.flushall();
});
afterAll(async () => {
  for (const redis of connections) redis.disconnect();
  await server.stop();
});

function connection(index: number): Redis {
  const redis = connections[index];
  if (redis === undefined) throw new Error("no such connection");
  return redis;
}

function open(index: number): Promise<SigningKeyring> {
  const store = new SigningKeysStore(connection(index));
  return SigningKeyring.open({ store, cipher: createAtRestCipher(encryptionKey), logger });
}

async function passes(signer: SigningKeyring, verifier: SigningKeyring): Promise<boolean> {
  const { token } = sign(signer.active, { userId: "alice", generation: 0, ttlSeconds: 60 });
  const verify = createVerifyToken({ ...tokens, findKey: verifier.findKey });
  return verify(token).then(
    () => true,
    () => false,
  );
}

test("several that start at once agree on the first key", async () => {
  const rings = await Promise.all([open(0), open(1), open(2), open(3)]);
  expect(new Set(rings.map((ring) => ring.active.kid)).size).toBe(1);
  for (const ring of rings) expect(await passes(rings[0], ring)).toBe(true);
});

test("a later start finds the same key; the private part is not readable in Redis", async () => {
  const first = await open(0);
  expect((await open(1)).active.kid).toBe(first.active.kid);
  const stored = await connection(0).get("petrel:{auth}:active-signing-key");
  expect(stored).toContain(first.active.kid);
  expect(stored).not.toContain("PRIVATE KEY");
  expect(JSON.parse(stored ?? "{}")).not.toHaveProperty("publicJwk.d");
});

test("with another encryption key the start says why it fails", async () => {
  await open(0);
  const store = new SigningKeysStore(connection(1));
  const other = SigningKeyring.open({ store, cipher: createAtRestCipher(randomBytes(32)), logger });
  await expect(other).rejects.toThrow(/KEY_ENCRYPTION_FILE.*another key/);
});

test("a sealed key put under another name is refused", async () => {
  const first = await open(0);
  const store = new SigningKeysStore(connection(0));
  const record = await store.readActive();
  await connection(0).set("petrel:{auth}:active-signing-key", JSON.stringify({ ...record, kid: "other" }));
  await expect(open(1)).rejects.toThrow("belongs to something else");
  expect(first.active.kid).not.toBe("other");
});

test("a Redis that lost the key gets it back", async () => {
  const ring = await open(0);
  await connection(0).flushall();
  await ring.refresh();
  expect((await open(1)).active.kid).toBe(ring.active.kid);
});

test("a key that another process made meanwhile is taken over, and the former still checks", async () => {
  const early = await open(0);
  const formerKid = early.active.kid;
  await connection(0).flushall();
  const late = await open(1);
  expect(late.active.kid).not.toBe(formerKid);
  const { token } = sign(early.active, { userId: "alice", generation: 0, ttlSeconds: 60 });
  await early.refresh();
  expect(early.active.kid).toBe(late.active.kid);
  expect(await passes(early, late)).toBe(true);
  await createVerifyToken({ ...tokens, findKey: early.findKey })(token);
  expect(early.publicJwks.map(({ kid }) => kid).sort()).toEqual([formerKid, late.active.kid].sort());
});

test("a refresh without Redis keeps the key", async () => {
  const lost = await connectRedis({ url: server.url, role: "lost", logger });
  const store = new SigningKeysStore(lost);
  const ring = await SigningKeyring.open({ store, cipher: createAtRestCipher(encryptionKey), logger });
  lost.disconnect();
  await ring.refresh();
  expect(await passes(ring, ring)).toBe(true);
});
