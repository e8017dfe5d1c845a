// Tests of the shared signing key on a real Redis.
// Guarantees: the race is run, not argued.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../kernel/logging.js";
import { startRedis, type TestRedis } from "../testing/start-redis.js";
import { connectRedis, type Redis } from "./connect.js";
import { type SigningKeyRecord, SigningKeysStore } from "./signing-keys-store.js";

const logger = createLogger({ service: "test", level: "silent" });
let server: TestRedis;
let connections: Redis[];

beforeAll(async () => {
  server = await startRedis();
  connections = await Promise.all(
    Array.from({ length: 5 }, (_, i) => connectRedis({ url: server.url, role: `test-${i}`, logger })),
  );
});
afterAll(async () => {
  for (const redis of connections) redis.disconnect();
  await server.stop();
});

function candidate(kid: string): SigningKeyRecord {
  return {
    kid,
    alg: "ES256",
    state: "active",
    publicJwk: { kty: "EC" },
    sealedPrivateKey: "v1.…",
    createdAt: "2026-01-01T00:00:00.000Z",
  };
}

test("all that bring a first key at once get the same one", async () => {
  for (let round = 0; round < 20; round++) {
    await connections[0]?.flushall();
    const agreed = await Promise.all(
      connections.map((redis, i) => new SigningKeysStore(redis).agreeOnActive(candidate(`k${i}`))),
    );
    const kids = new Set(agreed.map(({ kid }) => kid));
    expect(kids.size).toBe(1);
    const [redis] = connections;
    if (redis !== undefined) expect(await new SigningKeysStore(redis).readActive()).toEqual(agreed[0]);
  }
});

test("there is none before the first", async () => {
  const [redis] = connections;
  if (redis === undefined) throw new Error("no connection");
  await redis.flushall();
  const store = new SigningKeysStore(redis);
  expect(await store.readActive()).toBeUndefined();
  expect(await store.agreeOnActive(candidate("a"))).toEqual(candidate("a"));
  expect(await store.agreeOnActive(candidate("b"))).toEqual(candidate("a"));
});
