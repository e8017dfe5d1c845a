// Tests of auth's routes as a stranger sees them, on a real Redis, without a port.
// Guarantees: each answer's status, shape and headers are the contract's.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { InjectOptions } from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { ProducerScope } from "@petrel/shared/protocol/producer-scopes";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { allPartitionKeys } from "@petrel/shared/redis/keys";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { readPublicJwk } from "@petrel/shared/security/tokens/public-jwk";
import { createVerifyToken } from "@petrel/shared/security/tokens/verify-token";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { type OpenAuth, openAuth } from "./testing/open-auth.js";

const logger = createLogger({ service: "test", level: "silent" });
const clock = {
  offsetMs: 0,
  wallMs: () => Date.now() + clock.offsetMs,
  monotonicMs: () => performance.now(),
};

const encryptionKey = randomBytes(32);
let server: TestRedis;
let redis: Redis;
let auth: OpenAuth;
let app: HttpApp;
let revocations: TokenRevocations;

beforeAll(async () => {
  server = await startRedis();
  redis = await connectRedis({ url: server.url, role: "test", logger });
  auth = await openAuth({ url: server.url, clock, encryptionKey });
  ({ app } = auth);
  revocations = new TokenRevocations({
    scripts: new ScriptRunner(redis),
    partitions: allPartitionKeys(2),
    maxTokenLifeMs: 86_400_000,
  });
  await addKey("admin", ["admin"]);
  await addKey("tokens", ["tokens"]);
  await addKey("introspect", ["introspect"]);
});
afterAll(async () => {
  await auth.close();
  redis.disconnect();
  await server.stop();
});

async function addKey(id: string, scopes: readonly ProducerScope[]): Promise<void> {
  const secretSha256 = hashProducerSecret(`${id}-secret`);
  await auth.producerKeys.create({ id, owner: `${id}-owner`, name: id, scopes, secretSha256 }, new Date());
}

async function call(as: string | undefined, options: InjectOptions) {
  const authorization =
    as === undefined ? {} : { authorization: as.includes(".") ? as : `Bearer ${as}.${as}-secret` };
  const response = await app.inject({ ...options, headers: { ...authorization, ...options.headers } });
  return {
    status: response.statusCode,
    headers: response.headers,
    text: response.body,
    body: (response.body === "" ? undefined : JSON.parse(response.body)) as never,
  };
}

function makeToken(payload: Readonly<Record<string, unknown>>, as: string | undefined = "tokens") {
  return call(as, { method: "POST", url: "/v1/tokens", payload });
}

function introspect(token: string) {
  return call("introspect", { method: "POST", url: "/v1/introspect", payload: { token } });
}

function errorCode(code: string) {
  return {
    error: expect.objectContaining({ code, message: expect.any(String), retryable: expect.any(Boolean) }),
  };
}

test("makes a token that passes with the published keys and is not cached on the way", async () => {
  const device = { id: "phone-1", platform: "ios" };
  const made = await makeToken({ userId: "alice", device, ttlSeconds: 120 });
  expect(made.status).toBe(201);
  expect(made.headers["cache-control"]).toBe("no-store");
  expect(made.body).toEqual({
    accessToken: expect.any(String),
    refreshToken: expect.any(String),
    expiresIn: 120,
    tokenType: "Bearer",
  });

  const published = await call(undefined, { method: "GET", url: "/.well-known/jwks.json" });
  expect(published.status).toBe(200);
  expect(published.headers["cache-control"]).toMatch(/max-age=\d+/);
  expect(published.text).not.toMatch(/"d"|"k"|oct|PRIVATE/);
  const keys = (published.body as { keys: unknown[] }).keys.map(readPublicJwk);
  const verify = createVerifyToken({
    issuers: [
      {
        issuer: "petrel",
        audience: "petrel",
        findKey: (kid) => Promise.resolve(keys.find((key) => key.kid === kid)),
      },
    ],
  });
  const token = await verify((made.body as { accessToken: string }).accessToken);
  expect(token).toMatchObject({ userId: "alice", generation: 0, device });
  expect(token.expiresAtMs - token.issuedAtMs).toBe(120_000);
});

test("a token lives for an hour by default and carries the generation", async () => {
  const generation = await revocations.revokeUser("gen-user");
  const made = await makeToken({ userId: "gen-user" });
  expect(made.body).toMatchObject({ expiresIn: 3_600 });
  const seen = await introspect((made.body as { accessToken: string }).accessToken);
  expect(seen.body).toMatchObject({ active: true, sub: "gen-user", gen: generation });
});

test.each<[string, Readonly<Record<string, unknown>>]>([
  ["no user", {}],
  ["an empty user", { userId: "" }],
  ["a user with a slash", { userId: "a/b" }],
  ["a number as user", { userId: 7 }],
  ["an unknown field", { userId: "alice", admin: true }],
  ["a device without platform", { userId: "alice", device: { id: "d" } }],
  ["an unknown field of the device", { userId: "alice", device: { id: "d", platform: "ios", x: 1 } }],
  ["too short a life", { userId: "alice", ttlSeconds: 0 }],
  ["too long a life", { userId: "alice", ttlSeconds: 86_401 }],
  ["a string as lifetime", { userId: "alice", ttlSeconds: "60" }],
  ["a broken life", { userId: "alice", ttlSeconds: 60.5 }],
])("%s makes no token", async (_what, payload) => {
  const answer = await makeToken(payload);
  expect(answer.status).toBe(400);
  expect(answer.body).toEqual(errorCode("PETREL_INVALID_REQUEST"));
});

test.each<InjectOptions>([
  { method: "POST", url: "/v1/tokens", payload: { userId: "alice" } },
  { method: "POST", url: "/v1/introspect", payload: { token: "x" } },
  { method: "POST", url: "/v1/keys", payload: { name: "n", scopes: ["send"] } },
  { method: "GET", url: "/v1/keys" },
  { method: "DELETE", url: "/v1/keys/x" },
  { method: "PATCH", url: "/v1/keys/x", payload: { suspended: true } },
  { method: "POST", url: "/v1/keys/x/rotate" },
])("$method $url requires its scope, and checks it before it reads the body", async (request) => {
  for (const as of [undefined, "Bearer admin.wrong", "Bearer nobody.x", "Basic YTpi."]) {
    const stranger = await call(as, {
      ...request,
      payload: "{ not json",
      headers: { "content-type": "application/json" },
    });
    expect(stranger.status).toBe(401);
    expect(stranger.headers["www-authenticate"]).toContain("Bearer");
    expect(stranger.body).toEqual(errorCode("PETREL_UNAUTHENTICATED"));
  }
  await addKey("sender", ["send", "read", "devices"]);
  const other = await call("sender", request);
  expect(other.status).toBe(403);
  expect(other.body).toEqual(errorCode("PETREL_FORBIDDEN"));
});

test("introspection returns an active token's claims, for a form and for JSON", async () => {
  const { body } = await makeToken({ userId: "bob", device: { id: "d", platform: "web" } });
  const token = (body as { accessToken: string }).accessToken;
  const asJson = await introspect(token);
  expect(asJson.status).toBe(200);
  expect(asJson.headers["cache-control"]).toBe("no-store");
  expect(asJson.body).toEqual({
    active: true,
    token_type: "Bearer",
    iss: "petrel",
    aud: "petrel",
    sub: "bob",
    iat: expect.any(Number),
    exp: expect.any(Number),
    jti: expect.any(String),
    typ: "access",
    gen: 0,
    sid: expect.any(String),
    device: { id: "d", platform: "web" },
  });
  const asForm = await call("introspect", {
    method: "POST",
    url: "/v1/introspect",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    payload: new URLSearchParams({ token, token_type_hint: "access_token" }).toString(),
  });
  expect(asForm.body).toEqual(asJson.body);
});

test("an invalid, expired or revoked token is inactive, and the answer says nothing more", async () => {
  const inactive = '{"active":false}';
  const { body } = await makeToken({ userId: "carol", ttlSeconds: 30 });
  const token = (body as { accessToken: string }).accessToken;
  expect((await introspect("x")).text).toBe(inactive);
  expect((await introspect(`${token.slice(0, -8)}AAAAAAAA`)).text).toBe(inactive);
  clock.offsetMs = 31_000;
  expect((await introspect(token)).text).toBe(inactive);
  clock.offsetMs = 0;
  expect((await introspect(token)).body).toMatchObject({ active: true });
  await revocations.revokeUser("carol");
  const revoked = await introspect(token);
  expect(revoked.status).toBe(200);
  expect(revoked.text).toBe(inactive);
});

test.each<[string, string, string, number]>([
  ["an empty form", "application/x-www-form-urlencoded", "", 400],
  ["a field twice", "application/x-www-form-urlencoded", "token=a&token=b", 400],
  ["an unknown field", "application/x-www-form-urlencoded", "token=a&x=b", 400],
  ["a prototype", "application/x-www-form-urlencoded", "token=a&__proto__=b", 400],
  ["an empty token", "application/json", '{"token":""}', 400],
  ["malformed JSON", "application/json", '{"token"', 400],
  ["another type", "text/plain", "token=a", 415],
])("introspection refuses %s", async (_what, type, payload, status) => {
  const answer = await call("introspect", {
    method: "POST",
    url: "/v1/introspect",
    headers: { "content-type": type },
    payload,
  });
  expect(answer.status).toBe(status);
  expect(answer.body).toHaveProperty("error.code");
});

test("only introspection accepts forms", async () => {
  const answer = await call("tokens", {
    method: "POST",
    url: "/v1/tokens",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    payload: "userId=alice",
  });
  expect(answer.status).toBe(415);
});

test("a key is created, shown once, used, rotated and revoked", async () => {
  const made = await call("admin", {
    method: "POST",
    url: "/v1/keys",
    payload: { name: "Shop ✓", owner: "shop", scopes: ["tokens", "send"] },
  });
  expect(made.status).toBe(201);
  expect(made.headers["cache-control"]).toBe("no-store");
  const { id, secret } = made.body as { id: string; secret: string };
  expect(made.body).toEqual({
    id,
    secret,
    name: "Shop ✓",
    owner: "shop",
    scopes: ["tokens", "send"],
    signing: false,
    createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
  });
  expect((await makeToken({ userId: "alice" }, `Bearer ${id}.${secret}`)).status).toBe(201);

  const rotated = await call("admin", { method: "POST", url: `/v1/keys/${id}/rotate` });
  expect(rotated.status).toBe(200);
  const newSecret = (rotated.body as { secret: string }).secret;
  expect(newSecret).not.toBe(secret);
  expect((await makeToken({ userId: "alice" }, `Bearer ${id}.${secret}`)).status).toBe(401);
  expect((await makeToken({ userId: "alice" }, `Bearer ${id}.${newSecret}`)).status).toBe(201);

  const listed = await call("admin", { method: "GET", url: "/v1/keys?limit=1000" });
  expect(listed.text).not.toContain(newSecret);
  expect(listed.text).not.toContain(hashProducerSecret(newSecret));
  expect(listed.text).not.toContain("ecretSha256");

  const revoke: InjectOptions = { method: "DELETE", url: `/v1/keys/${id}` };
  const revoked = await call("admin", revoke);
  expect([revoked.status, revoked.text]).toEqual([204, ""]);
  expect((await makeToken({ userId: "alice" }, `Bearer ${id}.${newSecret}`)).status).toBe(401);
  expect((await call("admin", revoke)).status).toBe(204);
  const late = await call("admin", { method: "POST", url: `/v1/keys/${id}/rotate` });
  expect(late.status).toBe(409);
  expect(late.body).toEqual(errorCode("PETREL_CONFLICT"));
});

test("a key without an owner gets its creator's owner", async () => {
  const made = await call("admin", {
    method: "POST",
    url: "/v1/keys",
    payload: { name: "n", scopes: ["send"] },
  });
  expect(made.body).toMatchObject({ owner: "admin-owner" });
});

test.each<[string, unknown]>([
  ["no name", { scopes: ["send"] }],
  ["an empty name", { name: "", scopes: ["send"] }],
  ["no scopes", { name: "n", scopes: [] }],
  ["an unknown scope", { name: "n", scopes: ["fly"] }],
  ["a scope twice", { name: "n", scopes: ["send", "send"] }],
  ["a secret of one's own", { name: "n", scopes: ["send"], secret: "x" }],
  ["an owner with a space", { name: "n", scopes: ["send"], owner: "a b" }],
])("%s makes no key", async (_what, payload) => {
  const answer = await call("admin", { method: "POST", url: "/v1/keys", payload: payload as object });
  expect(answer.status).toBe(400);
  expect(answer.body).toEqual(errorCode("PETREL_INVALID_REQUEST"));
});

test("reports unknown and malformed key ids as such", async () => {
  expect((await call("admin", { method: "DELETE", url: "/v1/keys/nobody" })).status).toBe(404);
  expect((await call("admin", { method: "POST", url: "/v1/keys/nobody/rotate" })).status).toBe(404);
  expect((await call("admin", { method: "DELETE", url: "/v1/keys/a.b" })).status).toBe(400);
  const body = await call("admin", {
    method: "POST",
    url: "/v1/keys/admin/rotate",
    payload: { secret: "mine" },
  });
  expect(body.status).toBe(400);
});

test("the list of keys continues at its cursor", async () => {
  const all = (await call("admin", { method: "GET", url: "/v1/keys?limit=1000" })).body as {
    items: { id: string }[];
    nextCursor: string | null;
  };
  expect(all.nextCursor).toBeNull();
  const seen: string[] = [];
  let cursor = "";
  for (let pages = 0; pages <= all.items.length; pages++) {
    const page = (await call("admin", { method: "GET", url: `/v1/keys?limit=2${cursor}` }))
      .body as typeof all;
    seen.push(...page.items.map(({ id }) => id));
    if (page.nextCursor === null) break;
    cursor = `&cursor=${page.nextCursor}`;
  }
  expect(seen).toEqual(all.items.map(({ id }) => id));
  for (const query of ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "cursor=a.b", "x=1"]) {
    expect((await call("admin", { method: "GET", url: `/v1/keys?${query}` })).status).toBe(400);
  }
});

test("the OpenAPI document names each route's callers", async () => {
  const docs = await call(undefined, { method: "GET", url: "/docs/json" });
  const { paths } = docs.body as {
    paths: Record<string, Record<string, { security?: unknown; requestBody?: unknown }>>;
  };
  expect(paths["/v1/tokens"]?.["post"]?.security).toEqual(producerSecurity);
  expect(paths["/.well-known/jwks.json"]?.["get"]?.security).toEqual([]);
  expect(Object.keys(paths)).toEqual(
    expect.arrayContaining(["/v1/introspect", "/v1/keys", "/v1/keys/{id}", "/v1/keys/{id}/rotate"]),
  );
  expect(JSON.stringify(paths["/v1/introspect"])).toContain("application/x-www-form-urlencoded");
});

test("without Redis it is not ready and answers 503 with Retry-After; it recovers", async () => {
  const stranded = await openAuth({ url: server.url, clock, encryptionKey });
  const lost = stranded.redis;
  const ready = () => stranded.app.inject({ method: "GET", url: "/health/ready" });
  expect((await ready()).statusCode).toBe(200);
  const ended = once(lost, "end");
  lost.disconnect();
  await ended;
  expect((await ready()).statusCode).toBe(503);
  const answer = await stranded.app.inject({
    method: "POST",
    url: "/v1/tokens",
    headers: { authorization: "Bearer tokens.tokens-secret" },
    payload: { userId: "alice" },
  });
  expect(answer.statusCode).toBe(503);
  expect(Number(answer.headers["retry-after"])).toBeGreaterThanOrEqual(1);
  expect(answer.json()).toEqual(errorCode("PETREL_UNAVAILABLE"));
  await lost.connect();
  expect((await ready()).statusCode).toBe(200);
  await stranded.close();
});
