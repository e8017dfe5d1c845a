// Tests the routes of signing keys, and who may call what from a page, on a real Redis.
// Guarantees: no answer has a private part.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { addKey, type Answer, ask, type TokenPair } from "../testing/auth-caller.js";
import { type OpenAuth, openAuth } from "../testing/open-auth.js";

interface Listed {
  readonly kid: string;
  readonly state: string;
}

let store: OpenStore;
let auth: OpenAuth;
let app: HttpApp;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  auth = await openAuth({
    url: store.server.url,
    environment: { ALLOWED_ORIGINS: "https://app.example.com, https://*.shop.example" },
  });
  ({ app } = auth);
  await addKey(auth.producerKeys, "admin", ["admin"]);
  await addKey(auth.producerKeys, "shop", ["tokens"]);
});
afterEach(() => auth.close());
afterAll(() => store.close());

const list = async (): Promise<Listed[]> => {
  const answer = await ask(app, "admin", { method: "GET", url: "/v1/signing-keys" });
  expect(answer.status).toBe(200);
  expect(answer.text).not.toMatch(/ealed|PRIVATE|"d"/);
  return (answer.body as { items: Listed[] }).items;
};
const rotate = (payload?: object, as = "admin"): Promise<Answer> =>
  ask(app, as, { method: "POST", url: "/v1/signing-keys/rotate", ...(payload && { payload }) });
const published = async (): Promise<string[]> => {
  const answer = await ask(app, undefined, { method: "GET", url: "/.well-known/jwks.json" });
  return (answer.body as { keys: Listed[] }).keys.map(({ kid }) => kid);
};
const code = (answer: Answer): unknown => [
  answer.status,
  (answer.body as { error?: { code?: string } }).error?.code,
];

test("publishes the next key, says from when it signs, and returns the same one when asked again", async () => {
  const [first] = await list();
  expect(first).toEqual({
    kid: auth.keyring.active.kid,
    alg: "ES256",
    state: "active",
    createdAt: expect.stringMatching(/Z$/),
    activeFrom: expect.stringMatching(/Z$/),
  });
  const answer = await rotate();
  expect(answer.status).toBe(200);
  const next = answer.body as Listed & { createdAt: string; activeFrom: string };
  expect(next.state).toBe("upcoming");
  expect(Date.parse(next.activeFrom) - Date.parse(next.createdAt)).toBe(900_000);
  expect((await rotate({})).body).toEqual(answer.body);
  expect((await rotate({ immediately: false })).body).toEqual(answer.body);
  expect((await list()).map(({ state }) => state)).toEqual(["active", "upcoming"]);
  expect(new Set(await published())).toEqual(new Set([first?.kid, next.kid]));
});

test("immediately: tokens signed by the former key are refused, refresh tokens are not", async () => {
  const signedIn: TokenPair = (
    await ask(app, "shop", { method: "POST", url: "/v1/tokens", payload: { userId: "alice" } })
  ).body;
  const next = (await rotate({ immediately: true })).body as Listed;
  expect(next.state).toBe("active");
  expect(await published()).toEqual([next.kid]);
  expect((await list()).map(({ state }) => state)).toEqual(["withdrawn", "active"]);
  const devices = { method: "GET", url: "/v1/devices" } as const;
  expect(code(await ask(app, signedIn.accessToken, devices))).toEqual([401, "PETREL_TOKEN_INVALID"]);
  const { refreshToken } = signedIn;
  const refreshed: TokenPair = (
    await ask(app, undefined, { method: "POST", url: "/v1/tokens/refresh", payload: { refreshToken } })
  ).body;
  expect((await ask(app, refreshed.accessToken, devices)).status).toBe(200);
  const { items } = await auth.audit.list({ limit: 10, actor: "key:admin" });
  expect(items).toEqual([
    expect.objectContaining({
      action: "signing-key.rotate",
      target: next.kid,
      details: { immediately: true },
    }),
  ]);
});

test("requires the scope admin; an invalid request changes nothing", async () => {
  expect(code(await rotate(undefined, "shop"))).toEqual([403, "PETREL_FORBIDDEN"]);
  const listed = await ask(app, "shop", { method: "GET", url: "/v1/signing-keys" });
  expect(code(listed)).toEqual([403, "PETREL_FORBIDDEN"]);
  const stranger = await ask(app, undefined, { method: "POST", url: "/v1/signing-keys/rotate" });
  expect(code(stranger)).toEqual([401, "PETREL_UNAUTHENTICATED"]);
  for (const payload of [{ immediately: "yes" }, { immediately: true, x: 1 }, []]) {
    expect((await rotate(payload)).status).toBe(400);
  }
  expect((await list()).map(({ state }) => state)).toEqual(["active"]);
});

describe("a page's script", () => {
  const allowed = "https://app.example.com";
  const preflight = (url: string, origin: string, method: string) =>
    ask(app, undefined, {
      method: "OPTIONS",
      url,
      headers: {
        origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type",
      },
    });

  test.each([
    ["/v1/tokens/refresh", "POST"],
    ["/v1/tokens/revoke", "POST"],
    ["/v1/tickets", "POST"],
    ["/v1/devices", "PUT"],
    ["/v1/devices", "GET"],
    ["/v1/devices/d1", "DELETE"],
  ])("from an origin on the list may call %s by %s", async (url, method) => {
    for (const origin of [allowed, "https://eu.shop.example"]) {
      const answer = await preflight(url, origin, method);
      expect([answer.status, answer.text]).toEqual([204, ""]);
      expect(answer.headers["access-control-allow-origin"]).toBe(origin);
      expect(String(answer.headers["access-control-allow-methods"])).toContain(method);
      expect(answer.headers["access-control-allow-headers"]).toBe(
        "authorization, content-type, x-request-id",
      );
      expect(answer.headers["vary"]).toBe("origin");
      expect(answer.headers).not.toHaveProperty("access-control-allow-credentials");
    }
  });

  test.each(["https://evil.test", "https://shop.example", "null", "http://app.example.com"])(
    "from %s may not",
    async (origin) => {
      const answer = await preflight("/v1/tokens/refresh", origin, "POST");
      expect(code(answer)).toEqual([403, "PETREL_ORIGIN_REFUSED"]);
      expect(answer.headers).not.toHaveProperty("access-control-allow-origin");
    },
  );

  test("can read errors, and Retry-After", async () => {
    const answer = await ask(app, undefined, {
      method: "POST",
      url: "/v1/tokens/refresh",
      headers: { origin: allowed },
      payload: { refreshToken: "x" },
    });
    expect(answer.status).toBe(401);
    expect(answer.headers["access-control-allow-origin"]).toBe(allowed);
    expect(String(answer.headers["access-control-expose-headers"])).toContain("retry-after");
    const other = await ask(app, undefined, {
      method: "POST",
      url: "/v1/tokens/refresh",
      headers: { origin: "https://evil.test" },
      payload: { refreshToken: "x" },
    });
    expect(other.status).toBe(401);
    expect(other.headers).not.toHaveProperty("access-control-allow-origin");
  });

  test("cannot call routes for business systems; public keys are for everyone", async () => {
    for (const url of ["/v1/tokens", "/v1/keys", "/v1/introspect", "/v1/signing-keys/rotate"]) {
      const answer = await preflight(url, allowed, "POST");
      expect(answer.status).toBe(404);
      expect(answer.headers).not.toHaveProperty("access-control-allow-origin");
    }
    const keys = await ask(app, undefined, {
      method: "GET",
      url: "/.well-known/jwks.json",
      headers: { origin: "https://evil.test" },
    });
    expect(keys.headers["access-control-allow-origin"]).toBe("*");
  });
});
