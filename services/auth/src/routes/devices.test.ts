// Tests the routes of devices as an app and a business system see them, on a real Redis, without a port.
// Guarantees: each answer's status, shape and headers are the contract's; no token is in an answer or a log.
import { createECDH } from "node:crypto";
import { once } from "node:events";
import type { InjectOptions } from "fastify";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger, type Logger } from "@petrel/shared/kernel/logging/logging";
import type { ProducerScope } from "@petrel/shared/protocol/producer-scopes";
import { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { type OpenAuth, openAuth } from "../testing/open-auth.js";

const clock = {
  offsetMs: 0,
  wallMs: () => Date.now() + clock.offsetMs,
  monotonicMs: () => performance.now(),
};
const logged: string[] = [];

let store: OpenStore;
let auth: OpenAuth;
let app: HttpApp;
beforeAll(async () => {
  store = await openStore();
  auth = await openAuth({ url: store.server.url, clock, logger: notingLogger() });
  ({ app } = auth);
});
beforeEach(async () => {
  await store.clear();
  clock.offsetMs = 0;
  logged.length = 0;
  await addKey("devices", ["devices"]);
  await addKey("tokens", ["tokens"]);
  await addKey("other", ["send", "read", "tokens", "introspect", "admin"]);
});
afterAll(async () => {
  await auth.close();
  await store.close();
});

/** Records what is logged, before secrets are removed. */
function notingLogger(): Logger {
  const logger = createLogger({ service: "test", level: "silent" });
  const note = (...said: unknown[]): void => void logged.push(JSON.stringify(said));
  return Object.assign(logger, { debug: note, info: note, warn: note, error: note });
}

async function addKey(id: string, scopes: readonly ProducerScope[]): Promise<void> {
  const secretSha256 = hashProducerSecret(`${id}-secret`);
  await auth.producerKeys.create({ id, owner: "o", name: id, scopes, secretSha256 }, new Date());
}

/** @param as a key's name, or a whole header */
async function call(as: string | undefined, options: InjectOptions, to = app) {
  const authorization =
    as === undefined ? {} : { authorization: as.includes(" ") ? as : `Bearer ${as}.${as}-secret` };
  const response = await to.inject({ ...options, headers: { ...authorization, ...options.headers } });
  return {
    status: response.statusCode,
    headers: response.headers,
    text: response.body,
    body: (response.body === "" ? undefined : response.json()) as never,
  };
}

async function tokenOf(userId: string, ttlSeconds = 600): Promise<string> {
  const made = await call("tokens", { method: "POST", url: "/v1/tokens", payload: { userId, ttlSeconds } });
  return `Bearer ${(made.body as { accessToken: string }).accessToken}`;
}

interface Page {
  readonly items: readonly {
    readonly id: string;
    readonly tokenEnd?: string;
    readonly registeredAt: string;
    readonly lastSeenAt: string;
  }[];
  readonly nextCursor: string | null;
}

const iphone = (n: number) => ({
  platform: "ios",
  token: n.toString(16).padStart(64, "ab"),
  topic: "com.example.app",
  environment: "production",
});
const browserKeys = new Map<string, string>();
/** @param name of the browser: keys of its own, that stay */
const browser = (name: string) => {
  const p256dh = browserKeys.get(name) ?? createECDH("prime256v1").generateKeys().toString("base64url");
  browserKeys.set(name, p256dh);
  const keys = { p256dh, auth: "AAAAAAAAAAAAAAAAAAAAAA" };
  return { platform: "web", subscription: { endpoint: `https://fcm.googleapis.com/x-${name}`, keys } };
};
const put = (url: string, payload: unknown): InjectOptions => ({
  method: "PUT",
  url,
  payload: payload as object,
});
const get = (url: string): InjectOptions => ({ method: "GET", url });
const remove = (url: string): InjectOptions => ({ method: "DELETE", url });
const listOf = async (as: string, url = "/v1/devices"): Promise<Page> => (await call(as, get(url))).body;
const errorCode = (code: string) => ({
  error: expect.objectContaining({ code, message: expect.any(String), retryable: expect.any(Boolean) }),
});

/** The two APIs: an app with its user's token, a business system with a key. */
const doors = [
  { door: "/v1/devices", as: () => tokenOf("alice") },
  { door: "/v1/users/alice/devices", as: async () => "devices" },
] as const;

describe.each(doors)("$door", ({ door, as: open }) => {
  let as: string;
  beforeEach(async () => {
    as = await open();
  });

  test("a device is registered, listed without its token, and removed", async () => {
    const device = { ...iphone(1), token: iphone(1).token.toUpperCase() };
    const made = await call(as, put(door, device));
    expect([made.status, made.text]).toEqual([204, ""]);
    const made2 = await call(as, put(door, { platform: "wechat", openid: "oABC_def-123456", appid: "wx1" }));
    expect([made2.status, made2.text]).toEqual([204, ""]);

    const listed = await call(as, get(door));
    expect(listed.status).toBe(200);
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const { items, nextCursor } = listed.body as Page;
    expect(nextCursor).toBeNull();
    expect(items).toHaveLength(2);
    expect(items).toContainEqual({
      id: expect.stringMatching(/^d_[A-Za-z0-9_-]{16}$/),
      platform: "ios",
      topic: "com.example.app",
      environment: "production",
      tokenEnd: "ababa1",
      registeredAt: time,
      lastSeenAt: time,
    });
    expect(items).toContainEqual({
      id: expect.any(String),
      platform: "wechat",
      appid: "wx1",
      openidEnd: "123456",
      registeredAt: time,
      lastSeenAt: time,
    });
    expect(Math.abs(Date.parse(items[0]?.registeredAt ?? "") - Date.now())).toBeLessThan(60_000);

    for (const { id } of items) {
      const gone = await call(as, remove(`${door}/${id}`));
      expect([gone.status, gone.text]).toEqual([204, ""]);
      const again = await call(as, remove(`${door}/${id}`));
      expect(again.status).toBe(404);
      expect(again.body).toEqual(errorCode("PETREL_NOT_FOUND"));
    }
    expect(await listOf(as, door)).toEqual({ items: [], nextCursor: null });
    const log = logged.join("").toLowerCase();
    expect(log).toContain("ababa1");
    expect(log).not.toContain(iphone(1).token.slice(0, 20));
    expect(log).not.toContain("oabc_def");
  });

  test("registering again renews the device instead of adding a second one", async () => {
    await call(as, put(door, iphone(1)));
    clock.offsetMs = 5_000;
    await call(as, put(door, iphone(1)));
    const { items } = await listOf(as, door);
    expect(items).toHaveLength(1);
    expect(Date.parse(items[0]?.registeredAt ?? "")).toBeGreaterThan(Date.now());
  });

  test("a quarantined device shows its end, but not after it", async () => {
    await call(as, put(door, iphone(1)));
    const [{ id } = { id: "" }] = (await listOf(as, door)).items;
    for (const keys of store.partitions) {
      const devices = keys.devices("alice");
      const entry = await store.redis.hget(devices, id);
      if (entry === null) continue;
      const parts = entry.split("\t");
      parts[2] = String(Date.now() + 60_000);
      await store.redis.hset(devices, id, parts.join("\t"));
    }
    expect((await listOf(as, door)).items).toMatchObject([{ quarantinedUntil: expect.stringMatching(/Z$/) }]);
    clock.offsetMs = 61_000;
    expect((await listOf(as, door)).items[0]).not.toHaveProperty("quarantinedUntil");
  });

  test("the list continues at its cursor", async () => {
    for (let n = 0; n < 5; n++) await call(as, put(door, iphone(n)));
    const all = (await listOf(as, door)).items.map(({ id }) => id);
    expect(all).toHaveLength(5);
    const seen: string[] = [];
    let cursor = "";
    for (let pages = 0; pages < 10; pages++) {
      const page = await listOf(as, `${door}?limit=2${cursor}`);
      seen.push(...page.items.map(({ id }) => id));
      if (page.nextCursor === null) break;
      cursor = `&cursor=${page.nextCursor}`;
    }
    expect(seen).toEqual(all);
    for (const query of ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "cursor=a.b", "x=1"]) {
      expect((await call(as, get(`${door}?${query}`))).status, query).toBe(400);
    }
  });

  test("a user has at most twenty", async () => {
    for (let n = 0; n < 22; n++) {
      clock.offsetMs = n;
      await call(as, put(door, iphone(n)));
    }
    const ends = (await listOf(as, door)).items.map(({ tokenEnd }) => tokenEnd);
    expect(ends).toHaveLength(20);
    expect(ends).not.toContain("ababa0".slice(-6));
  });

  test("a browser is identified by its endpoint, and its keys may change", async () => {
    const device = browser("one");
    expect(
      (
        await call(
          as,
          put(door, { ...device, subscription: { ...device.subscription, expirationTime: null } }),
        )
      ).status,
    ).toBe(204);
    const [first] = (await listOf(as, door)).items;
    expect(first).toEqual({
      id: expect.stringMatching(/^d_[A-Za-z0-9_-]{16}$/),
      platform: "web",
      host: "fcm.googleapis.com",
      endpointEnd: "/x-one".slice(-6),
      registeredAt: expect.any(String),
      lastSeenAt: expect.any(String),
    });
    const anew = { ...device.subscription, keys: browser("two").subscription.keys, expirationTime: 9e12 };
    expect((await call(as, put(door, { platform: "web", subscription: anew }))).status).toBe(204);
    expect((await listOf(as, door)).items.map(({ id }) => id)).toEqual([first?.id]);
    expect((await call(as, remove(`${door}/${first?.id}`))).status).toBe(204);
    expect((await listOf(as, door)).items).toEqual([]);
  });

  test.each<[string, object]>([
    ["another host", { endpoint: "https://evil.example/x" }],
    ["http:", { endpoint: "http://fcm.googleapis.com/x" }],
    ["no endpoint", { endpoint: undefined }],
    ["an endpoint that is too long", { endpoint: `https://fcm.googleapis.com/${"x".repeat(2_048)}` }],
    ["no keys", { keys: undefined }],
    ["a key that is not a point", { keys: { p256dh: `B${"A".repeat(86)}`, auth: "A".repeat(22) } }],
    ["a short key", { keys: { p256dh: "BAAA", auth: "A".repeat(22) } }],
    ["a short secret", { keys: { ...browser("one").subscription.keys, auth: "AAAA" } }],
    ["an unknown field", { id: "x" }],
    ["a string as time", { expirationTime: "never" }],
  ])("refuses a subscription with %s and changes nothing", async (_what, change) => {
    const subscription = { ...browser("one").subscription, ...change };
    const answer = await call(as, put(door, { platform: "web", subscription }));
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual(errorCode("PETREL_INVALID_REQUEST"));
    expect((await listOf(as, door)).items).toEqual([]);
  });

  test.each<[string, unknown]>([
    ["no platform", { ...iphone(1), platform: undefined }],
    ["an unknown platform", { ...iphone(1), platform: "android" }],
    ["no token", { ...iphone(1), token: undefined }],
    ["too short a token", { ...iphone(1), token: "ab".repeat(31) }],
    ["too long a token", { ...iphone(1), token: "ab".repeat(101) }],
    ["a token that is not hex", { ...iphone(1), token: "g".repeat(64) }],
    ["a token with a trailing newline", { ...iphone(1), token: `${iphone(1).token}\n` }],
    ["a number as token", { ...iphone(1), token: 5 }],
    ["no topic", { ...iphone(1), topic: undefined }],
    ["an empty topic", { ...iphone(1), topic: "" }],
    ["a topic with a slash", { ...iphone(1), topic: "com/example" }],
    ["no environment", { ...iphone(1), environment: undefined }],
    ["an unknown environment", { ...iphone(1), environment: "staging" }],
    ["null as environment", { ...iphone(1), environment: null }],
    ["an unknown field", { ...iphone(1), name: "my phone" }],
    ["a field of the other platform", { ...iphone(1), openid: "o" }],
    ["wechat without openid", { platform: "wechat", appid: "wx1" }],
    ["wechat without appid", { platform: "wechat", openid: "o" }],
    ["wechat with a token", { platform: "wechat", openid: "o", appid: "wx1", token: iphone(1).token }],
    ["wechat with a tab", { platform: "wechat", openid: "o\tx", appid: "wx1" }],
    ["a list", [iphone(1)]],
    ["web without a subscription", { platform: "web" }],
    ["web with an openid", { ...browser("one"), openid: "o" }],
    ["a phone with a subscription", { ...iphone(1), subscription: browser("one").subscription }],
  ])("refuses %s and changes nothing", async (_what, payload) => {
    const answer = await call(as, put(door, payload));
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual(errorCode("PETREL_INVALID_REQUEST"));
    expect(answer.text).not.toContain(iphone(1).token);
    expect(await listOf(as, door)).toMatchObject({ items: [] });
  });

  test("refuses what is not JSON, has no content type, or follows a query", async () => {
    const headers = { "content-type": "application/json" };
    expect((await call(as, { ...put(door, "{"), headers })).body).toEqual(errorCode("PETREL_INVALID_JSON"));
    const text = await call(as, { ...put(door, "x"), headers: { "content-type": "text/plain" } });
    expect(text.status).toBe(415);
    expect((await call(as, put(`${door}?x=1`, iphone(1)))).status).toBe(400);
    expect((await call(as, remove(`${door}/a%2Fb`))).status).toBe(400);
    expect((await call(as, remove(`${door}/d1`))).status).toBe(404);
  });

  test("without a valid credential: 401, before the body is read", async () => {
    const wrong = [undefined, "Basic YTpi", "Bearer x", "Bearer devices.wrong", "Bearer a.b.c"];
    for (const bad of wrong) {
      for (const request of [put(door, "{ not json"), get(door), remove(`${door}/d1`)]) {
        const answer = await call(bad, request);
        expect(answer.status, `${bad} ${request.method}`).toBe(401);
        expect(answer.headers["www-authenticate"]).toContain("Bearer");
        expect(answer.body).toHaveProperty("error.code");
      }
    }
  });
});

test("a device that another user registers leaves the first user, through either API", async () => {
  const [alice, bob] = [await tokenOf("alice"), await tokenOf("bob")];
  await call(alice, put("/v1/devices", iphone(1)));
  await call("devices", put("/v1/users/bob/devices", iphone(1)));
  expect((await listOf(alice)).items).toEqual([]);
  const [device] = (await listOf(bob)).items;
  expect(device).toMatchObject({ tokenEnd: "ababa1" });
  expect((await call(alice, remove(`/v1/devices/${device?.id}`))).status).toBe(404);
  expect((await listOf(bob)).items).toHaveLength(1);
});

test("accepts a user id that must be percent-encoded", async () => {
  const userId = "a@b:c|d~e+f=g";
  const door = `/v1/users/${encodeURIComponent(userId)}/devices`;
  expect((await call("devices", put(door, iphone(1)))).status).toBe(204);
  expect((await listOf(await tokenOf(userId))).items).toHaveLength(1);
  expect((await call("devices", get("/v1/users/a%2Fb/devices"))).status).toBe(400);
  expect((await call("devices", get(`/v1/users/${"a".repeat(129)}/devices`))).status).toBe(400);
});

test("a key without the scope devices gets 403", async () => {
  const door = "/v1/users/alice/devices";
  for (const request of [put(door, iphone(1)), get(door), remove(`${door}/d1`)]) {
    const answer = await call("other", request);
    expect(answer.status).toBe(403);
    expect(answer.body).toEqual(errorCode("PETREL_FORBIDDEN"));
  }
});

test("a user's token works only for the user's own routes, and only while it is valid", async () => {
  const token = await tokenOf("alice", 60);
  expect((await call(token, get("/v1/users/alice/devices"))).status).toBe(401);
  expect((await call(token, get("/v1/devices"))).status).toBe(200);
  const { scripts, partitions } = store;
  await new TokenRevocations({ scripts, partitions, maxTokenLifeMs: 1 }).revokeUser("alice");
  const revoked = await call(token, get("/v1/devices"));
  expect(revoked.status).toBe(401);
  expect(revoked.body).toEqual(errorCode("PETREL_TOKEN_REVOKED"));
  const fresh = await tokenOf("alice", 60);
  clock.offsetMs = 61_000;
  expect((await call(fresh, get("/v1/devices"))).body).toEqual(errorCode("PETREL_TOKEN_EXPIRED"));
});

test("without Redis: 503 with Retry-After", async () => {
  const alone = await openAuth({ url: store.server.url, clock });
  try {
    // The key is known from here on: what follows is about devices.
    expect((await call("devices", get("/v1/users/alice/devices"), alone.app)).status).toBe(200);
    const ended = once(alone.redis, "end");
    alone.redis.disconnect();
    await ended;
    const door = "/v1/users/alice/devices";
    for (const request of [put(door, iphone(1)), get(door), remove(`${door}/d1`)]) {
      const answer = await call("devices", request, alone.app);
      expect(answer.status).toBe(503);
      expect(Number(answer.headers["retry-after"])).toBeGreaterThanOrEqual(1);
      expect(answer.body).toEqual(errorCode("PETREL_UNAVAILABLE"));
    }
  } finally {
    await alone.close();
  }
});

test("the OpenAPI document names who may call them", async () => {
  const { paths } = (await call(undefined, get("/docs/json"))).body as {
    paths: Record<string, Record<string, { security?: unknown }>>;
  };
  for (const [door, security] of [
    ["/v1/devices", [{ bearer: [] }]],
    ["/v1/users/{userId}/devices", producerSecurity],
  ] as const) {
    expect(paths[door]?.["put"]?.security).toEqual(security);
    expect(paths[door]?.["get"]?.security).toEqual(security);
    expect(paths[`${door}/{id}`]?.["delete"]?.security).toEqual(security);
  }
});
