// Tests sign-in and refresh as a client sees them, on a real Redis, with two auth processes of one cluster.
// Guarantees: the leeway is configured, never slept: endless in one cluster, zero in the other.
import { randomBytes } from "node:crypto";
import { afterEach, afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { addKey, type Answer, ask, type TokenPair } from "../testing/auth-caller.js";
import { type OpenAuth, openAuth } from "../testing/open-auth.js";

const encryptionKey = randomBytes(32);
const clock = {
  offsetMs: 0,
  wallMs: () => Date.now() + clock.offsetMs,
  monotonicMs: () => performance.now(),
};

let store: OpenStore;
const opened: OpenAuth[] = [];
let one: HttpApp;
let other: HttpApp;
/** For all tests that ask for no other. */
let usual: readonly [OpenAuth, OpenAuth];
beforeAll(async () => {
  store = await openStore();
  usual = [await openProcess(), await openProcess()];
  [one, other] = [usual[0].app, usual[1].app];
});
beforeEach(async () => {
  await store.clear();
  clock.offsetMs = 0;
  await addKey(usual[0].producerKeys, "shop", ["tokens", "introspect"]);
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((auth) => auth.close()));
});
afterAll(async () => {
  await Promise.all(usual.map((auth) => auth.close()));
  await store.close();
});

/** One process of the cluster. */
function openProcess(environment: Readonly<Record<string, string>> = {}): Promise<OpenAuth> {
  return openAuth({ url: store.server.url, clock, encryptionKey, environment });
}

/** One more, until the test ends. */
async function openApart(environment: Readonly<Record<string, string>>): Promise<HttpApp> {
  const auth = await openProcess(environment);
  opened.push(auth);
  return auth.app;
}

async function signIn(more: object = {}, at = one): Promise<TokenPair> {
  const payload = { userId: "alice", ...more };
  const answer = await ask(at, "shop", { method: "POST", url: "/v1/tokens", payload });
  expect(answer.status).toBe(201);
  return answer.body;
}

const refresh = (refreshToken: unknown, at = one): Promise<Answer> =>
  ask(at, undefined, { method: "POST", url: "/v1/tokens/refresh", payload: { refreshToken } });

async function introspect(token: string): Promise<Readonly<Record<string, unknown>>> {
  return (await ask(other, "shop", { method: "POST", url: "/v1/introspect", payload: { token } })).body;
}

const code = (answer: Answer): unknown => [
  answer.status,
  (answer.body as { error?: { code?: string } }).error?.code,
];

test("the next pair has the contract's shape, and the same session, device and lifetime", async () => {
  const device = { id: "phone-1", platform: "ios" };
  const first = await signIn({ device, ttlSeconds: 120 });
  const answer = await refresh(first.refreshToken, other);
  expect(answer.status).toBe(200);
  expect(answer.headers["cache-control"]).toBe("no-store");
  expect(answer.body).toEqual({
    accessToken: expect.any(String),
    refreshToken: expect.any(String),
    expiresIn: 120,
    tokenType: "Bearer",
  });
  const next: TokenPair = answer.body;
  expect(next.refreshToken).not.toBe(first.refreshToken);
  const [before, after] = [await introspect(first.accessToken), await introspect(next.accessToken)];
  expect(after).toMatchObject({ active: true, sub: "alice", device });
  expect(after["sid"]).toBe(before["sid"]);
  expect(after["jti"]).not.toBe(before["jti"]);
});

test("a token lost on the way is answered with the same successor, by every process", async () => {
  const { refreshToken } = await signIn();
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => refresh(refreshToken, i % 2 === 0 ? one : other)),
  );
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  const pairs = answers.map(({ body }): TokenPair => body);
  expect(new Set(pairs.map((pair) => pair.refreshToken)).size).toBe(1);
  for (const { accessToken } of pairs) expect(await introspect(accessToken)).toMatchObject({ active: true });
  expect((await refresh(pairs[0]?.refreshToken)).status).toBe(200);
});

describe("a refresh token in two hands", () => {
  test("a second use signs both out and tells every node", async () => {
    const owner = await signIn();
    const bystander = await signIn();
    const strict = await openApart({ REFRESH_LEEWAY_SECONDS: "0" });
    const pair = await signIn({}, strict);
    const next: TokenPair = (await refresh(pair.refreshToken, strict)).body;
    const heard = await store.listen(...store.partitions.map(({ control }) => control));
    const from = await store.nowMs();
    await waitFor(async () => (await store.nowMs()) > from, { what: "a moment", everyMs: 1 });
    expect(code(await refresh(pair.refreshToken, strict))).toEqual([401, "PETREL_REFRESH_REUSED"]);
    await waitFor(() => heard.length > 0, { what: "the nodes to be told" });
    expect(heard[0]).toMatch(/^revoke-session\nalice\t/);
    expect(code(await refresh(next.refreshToken, strict))).toEqual([401, "PETREL_REFRESH_REUSED"]);
    const devices = { method: "GET", url: "/v1/devices" } as const;
    for (const { accessToken } of [pair, next]) {
      expect(code(await ask(strict, accessToken, devices))).toEqual([401, "PETREL_TOKEN_REVOKED"]);
      const seen = await ask(strict, "shop", {
        method: "POST",
        url: "/v1/introspect",
        payload: { token: accessToken },
      });
      expect(seen.text).toBe('{"active":false}');
    }
    for (const { refreshToken } of [owner, bystander]) expect((await refresh(refreshToken)).status).toBe(200);
  });

  test("even within the leeway, if its successor was used; it is logged for operators", async () => {
    const { refreshToken } = await signIn();
    const next: TokenPair = (await refresh(refreshToken)).body;
    expect((await refresh(next.refreshToken)).status).toBe(200);
    expect(code(await refresh(refreshToken, other))).toEqual([401, "PETREL_REFRESH_REUSED"]);
    await waitFor(async () => (await store.redis.xlen("petrel:audit")) > 0, { what: "the audit entry" });
    expect(JSON.stringify(await store.redis.xrange("petrel:audit", "-", "+"))).toContain("token.revoke");
  });

  test("it is audited once: repeating such a token cannot fill the audit log", async () => {
    const { refreshToken } = await signIn();
    const next: TokenPair = (await refresh(refreshToken)).body;
    await refresh(next.refreshToken);
    for (const text of [refreshToken, refreshToken, next.refreshToken]) {
      const answers = await Promise.all([one, other].map((at) => refresh(text, at)));
      for (const answer of answers) expect(code(answer)).toEqual([401, "PETREL_REFRESH_REUSED"]);
    }
    const acts = await store.redis.xrange("petrel:audit", "-", "+");
    expect(acts.filter(([, fields]) => fields.join(" ").includes("refresh token reused"))).toHaveLength(1);
  });
});

test.each<[string, unknown, unknown]>([
  ["none", undefined, [400, "PETREL_INVALID_REQUEST"]],
  ["a number", 7, [400, "PETREL_INVALID_REQUEST"]],
  ["an empty one", "", [400, "PETREL_INVALID_REQUEST"]],
  ["a very long one", "x".repeat(2_000), [400, "PETREL_INVALID_REQUEST"]],
  ["a string", "hello", [401, "PETREL_TOKEN_INVALID"]],
  [
    "one of another format",
    `pr1.YWxpY2U.${"a".repeat(22)}.0.${"a".repeat(64)}`,
    [401, "PETREL_TOKEN_INVALID"],
  ],
])("refuses %s and changes nothing", async (_what, refreshToken, expected) => {
  const { refreshToken: good } = await signIn();
  const before = await store.snapshot();
  const answer = await refresh(refreshToken);
  expect(code(answer)).toEqual(expected);
  if (answer.status === 401) expect(answer.headers["www-authenticate"]).toContain("Bearer");
  expect(answer.text).not.toContain("hello");
  expect(await store.snapshot()).toEqual(before);
  expect((await refresh(good)).status).toBe(200);
});

test("an access token is not a refresh token, nor the reverse", async () => {
  const pair = await signIn();
  expect(code(await refresh(pair.accessToken))).toEqual([401, "PETREL_TOKEN_INVALID"]);
  const devices = { method: "GET", url: "/v1/devices" } as const;
  expect(code(await ask(one, pair.refreshToken, devices))).toEqual([401, "PETREL_TOKEN_INVALID"]);
  expect(await introspect(pair.refreshToken)).toEqual({ active: false });
});

test("an access token does not reveal enough to end its session", async () => {
  const { accessToken, refreshToken } = await signIn();
  const { sid } = await introspect(accessToken);
  const user = Buffer.from("alice").toString("base64url");
  await refresh(refreshToken);
  for (const number of [0, 1, 7]) {
    const forged = `pr1.${user}.${String(sid)}.${number}.${randomBytes(48).toString("base64url")}`;
    expect(code(await refresh(forged))).toEqual([401, "PETREL_TOKEN_INVALID"]);
  }
  expect(await introspect(accessToken)).toMatchObject({ active: true });
});

test("a session that is gone has expired; one whose user was revoked says so", async () => {
  const gone = await signIn({ userId: "bob" });
  for (const key of await store.redis.keys("petrel:{*}:sessions:bob")) await store.redis.del(key);
  expect(code(await refresh(gone.refreshToken))).toEqual([401, "PETREL_TOKEN_EXPIRED"]);
  const revoked = await signIn();
  const payload = { userId: "alice" };
  await ask(one, "shop", { method: "POST", url: "/v1/tokens/revoke", payload });
  expect(code(await refresh(revoked.refreshToken, other))).toEqual([401, "PETREL_TOKEN_REVOKED"]);
});

test("a session's stored data does not reveal its tokens", async () => {
  const pair = await signIn();
  const next: TokenPair = (await refresh(pair.refreshToken)).body;
  const everything = JSON.stringify(await store.snapshot());
  for (const { accessToken, refreshToken } of [pair, next]) {
    expect(everything).not.toContain(refreshToken.split(".").at(-1)?.slice(0, 20));
    expect(everything).not.toContain(accessToken.split(".").at(-1)?.slice(0, 20));
  }
});

test("issues no tokens if auth's own tokens are not trusted", async () => {
  const closed = await openApart({
    TRUST_OWN_TOKENS: "false",
    EXTERNAL_ISSUER: "https://id.example.com/",
    EXTERNAL_JWKS_URL: "https://id.example.com/jwks",
    EXTERNAL_AUDIENCE: "petrel",
  });
  const { refreshToken, accessToken } = await signIn();
  const payload = { userId: "alice" };
  const made = await ask(closed, "shop", { method: "POST", url: "/v1/tokens", payload });
  expect(code(made)).toEqual([409, "PETREL_CONFLICT"]);
  expect(code(await refresh(refreshToken, closed))).toEqual([409, "PETREL_CONFLICT"]);
  const devices = { method: "GET", url: "/v1/devices" } as const;
  expect(code(await ask(closed, accessToken, devices))).toEqual([401, "PETREL_TOKEN_INVALID"]);
});
