// Tests sign-out, revocation and tickets as their callers see them, on a real Redis.
// Guarantees: in each test, tokens that were not revoked stay valid.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { TicketsStore } from "@petrel/shared/redis/auth/tickets-store";
import type { VerifiedToken } from "@petrel/shared/security/tokens/verified-token";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { addKey, type Answer, ask, type TokenPair } from "../testing/auth-caller.js";
import { type OpenAuth, openAuth } from "../testing/open-auth.js";

const clock = {
  offsetMs: 0,
  wallMs: () => Date.now() + clock.offsetMs,
  monotonicMs: () => performance.now(),
};

const directory = mkdtempSync(join(tmpdir(), "petrel-revoke-"));
const secretFile = join(directory, "secret");
writeFileSync(secretFile, randomBytes(48).toString("base64"), { mode: 0o600 });
afterAll(() => rmSync(directory, { recursive: true }));

let store: OpenStore;
/** For all tests that ask for no other. */
let usual: OpenAuth;
let auth: OpenAuth;
let app: HttpApp;
beforeAll(async () => {
  store = await openStore();
  usual = await openAuth({ url: store.server.url, clock });
});
beforeEach(async () => {
  await store.clear();
  auth = usual;
  ({ app } = auth);
  clock.offsetMs = 0;
  await addKey(auth.producerKeys, "shop", ["tokens", "introspect"]);
  await addKey(auth.producerKeys, "sender", ["send", "admin"]);
});
afterAll(async () => {
  await usual.close();
  await store.close();
});

async function signIn(userId = "alice", ttlSeconds = 600): Promise<TokenPair> {
  const payload = { userId, ttlSeconds };
  return (await ask(app, "shop", { method: "POST", url: "/v1/tokens", payload })).body;
}

function revoke(as: string | undefined, payload?: object): Promise<Answer> {
  return ask(app, as, { method: "POST", url: "/v1/tokens/revoke", ...(payload && { payload }) });
}

const askTicket = (as: string | undefined, payload?: object): Promise<Answer> =>
  ask(app, as, { method: "POST", url: "/v1/tickets", ...(payload && { payload }) });

async function isGood({ accessToken }: TokenPair): Promise<boolean> {
  const payload = { token: accessToken };
  const seen = await ask(app, "shop", { method: "POST", url: "/v1/introspect", payload });
  const own = await ask(app, accessToken, { method: "GET", url: "/v1/devices" });
  expect(own.status === 200).toBe((seen.body as { active: boolean }).active);
  if (own.status !== 200) expect(code(own)).toEqual([401, "PETREL_TOKEN_REVOKED"]);
  return own.status === 200;
}

async function claimsOf({ accessToken }: TokenPair): Promise<{ jti: string; sid: string }> {
  const payload = { token: accessToken };
  return (await ask(app, "shop", { method: "POST", url: "/v1/introspect", payload })).body;
}

const code = (answer: Answer): unknown => [
  answer.status,
  (answer.body as { error?: { code?: string } }).error?.code,
];

const refreshed = async ({ refreshToken }: TokenPair): Promise<unknown> => {
  const payload = { refreshToken };
  const answer = await ask(app, undefined, { method: "POST", url: "/v1/tokens/refresh", payload });
  return answer.status === 200 ? 200 : code(answer);
};

describe("as the user", () => {
  test.each([[undefined], [{}]])("with the body %j: signs this session out, and no other", async (body) => {
    const [here, there] = [await signIn(), await signIn()];
    const heard = await store.listen(...store.partitions.map(({ control }) => control));
    const answer = await revoke(here.accessToken, body);
    expect([answer.status, answer.text]).toEqual([204, ""]);
    expect(await isGood(here)).toBe(false);
    expect(await refreshed(here)).toEqual([401, "PETREL_TOKEN_REVOKED"]);
    expect(await isGood(there)).toBe(true);
    expect(await refreshed(there)).toBe(200);
    await waitFor(() => heard.length > 0, { what: "the nodes to be told" });
    expect(heard[0]).toMatch(/^revoke-session\nalice\t/);
  });

  test("a second time it is a revoked token like any other", async () => {
    const pair = await signIn();
    await revoke(pair.accessToken);
    expect(code(await revoke(pair.accessToken))).toEqual([401, "PETREL_TOKEN_REVOKED"]);
  });

  test.each([{ userId: "bob" }, { userId: "alice" }, { jti: "x" }, { x: 1 }, []])(
    "the body %j is not allowed for users, and changes nothing",
    async (body) => {
      const pair = await signIn();
      const before = await store.snapshot();
      expect((await revoke(pair.accessToken, body)).status).toBe(400);
      expect(await store.snapshot()).toEqual(before);
    },
  );
});

describe("as a business system", () => {
  test("a user: all present tokens; a new sign-in is not affected", async () => {
    const [first, second, bystander] = [await signIn(), await signIn(), await signIn("bob")];
    expect((await revoke("shop", { userId: "alice" })).status).toBe(204);
    for (const pair of [first, second]) {
      expect(await isGood(pair)).toBe(false);
      expect(await refreshed(pair)).toEqual([401, "PETREL_TOKEN_REVOKED"]);
    }
    expect(await isGood(bystander)).toBe(true);
    const later = await signIn();
    expect(await isGood(later)).toBe(true);
    expect(await refreshed(later)).toBe(200);
    expect((await revoke("shop", { userId: "alice" })).status).toBe(204);
    expect(await isGood(later)).toBe(false);
  });

  test("a token: that one, not its session", async () => {
    const pair = await signIn();
    const { jti } = await claimsOf(pair);
    expect((await revoke("shop", { jti })).status).toBe(204);
    expect((await revoke("shop", { jti })).status).toBe(204);
    expect(await isGood(pair)).toBe(false);
    expect(await refreshed(pair)).toBe(200);
  });

  test("a presented token: that one, until it expires, only in its user's partition", async () => {
    const [pair, other] = [await signIn(), await signIn()];
    const { jti } = await claimsOf(pair);
    expect((await revoke("shop", { token: pair.accessToken })).status).toBe(204);
    expect(await isGood(pair)).toBe(false);
    expect(await refreshed(pair)).toBe(200);
    expect(await isGood(other)).toBe(true);
    const keys = await store.redis.keys("*revoked-token:*");
    expect(keys).toEqual([expect.stringContaining(jti)]);
    expect(await store.redis.pttl(keys[0] ?? "")).toBeLessThanOrEqual(4_200_000);
    const { items } = await auth.audit.list({ limit: 10, action: "token.revoke" });
    expect(items.map(({ actor, target }) => [actor, target])).toEqual([["key:shop", jti]]);
    for (const token of ["x", `${other.accessToken.slice(0, -8)}AAAAAAAA`]) {
      expect(code(await revoke("shop", { token }))).toEqual([400, "PETREL_INVALID_REQUEST"]);
    }
    expect(await isGood(other)).toBe(true);
  });

  test("a jti with its expiry is remembered until then", async () => {
    const pair = await signIn();
    const { jti } = await claimsOf(pair);
    const exp = Math.floor(Date.now() / 1_000) + 600;
    expect((await revoke("shop", { jti, exp })).status).toBe(204);
    expect(await isGood(pair)).toBe(false);
    for (const key of await store.redis.keys("*revoked-token:*")) {
      expect(await store.redis.pttl(key)).toBeLessThanOrEqual(4_200_000);
    }
  });

  describe("beyond a key's limit", () => {
    beforeEach(async () => {
      await store.clear();
      auth = await openAuth({
        url: store.server.url,
        // Tokens of others may live for a year here.
        environment: { TOKEN_HS256_SECRET_FILE: secretFile, REVOCATIONS_PER_KEY_PER_HOUR: "20" },
      });
      ({ app } = auth);
      await addKey(auth.producerKeys, "shop", ["tokens", "introspect"]);
    });
    afterEach(() => auth.close());

    const invent = async (make: (i: number) => object, count: number): Promise<number[]> => {
      const statuses: number[] = [];
      for (let i = 0; i < count; i++) statuses.push((await revoke("shop", make(i))).status);
      return statuses;
    };
    const soon = Math.floor(Date.now() / 1_000) + 600;

    test.each<[string, (i: number) => object, number]>([
      ["jtis that are remembered for a year", (i) => ({ jti: `j${i}` }), 2],
      ["jtis with a stated life of a year", (i) => ({ jti: `j${i}`, exp: soon + 300 * 86_400 }), 2],
      ["jtis that expire today", (i) => ({ jti: `j${i}`, exp: soon }), 20],
      ["users", (i) => ({ userId: `u${i}` }), 20],
    ])("invented %s use no memory", async (_what, make, taken) => {
      const statuses = await invent(make, taken + 3);
      expect(statuses).toEqual([...Array(taken).fill(204), 429, 429, 429]);
      const answer = await revoke("shop", make(99));
      expect(code(answer)).toEqual([429, "PETREL_RATE_LIMITED"]);
      expect(answer.headers["ratelimit-policy"]).toBe('"revocations";q=20;w=3600');
      expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
      // A refused revocation is neither written nor audited.
      const { items } = await auth.audit.list({ limit: 100, action: "token.revoke" });
      expect(items).toHaveLength(taken);
    });

    test("a presented token is still revoked, and so is what other keys and users revoke", async () => {
      await addKey(auth.producerKeys, "other", ["tokens"]);
      const [pair, own] = [await signIn(), await signIn()];
      await invent((i) => ({ userId: `u${i}` }), 21);
      expect((await revoke("shop", { token: pair.accessToken })).status).toBe(204);
      expect((await revoke(own.accessToken)).status).toBe(204);
      expect((await revoke("other", { userId: "bob" })).status).toBe(204);
      expect(await isGood(pair)).toBe(false);
    });
  });

  test.each([
    undefined,
    {},
    { exp: 1 },
    { userId: "a", exp: 1 },
    { token: "a.b.c", exp: 1 },
    { token: "a.b.c", jti: "j" },
    { jti: "j", exp: -1 },
    { jti: "j", exp: 1.5 },
    { jti: "j", exp: 1e15 },
    { userId: "a", jti: "j" },
    { userId: "a b" },
    { jti: "a b" },
    { jti: "" },
    { x: 1 },
  ])("the body %j does not say what to revoke", async (body) => {
    const answer = await revoke("shop", body);
    expect(code(answer)).toEqual([400, "PETREL_INVALID_REQUEST"]);
  });

  test("refuses others, and a stranger learns nothing about the body", async () => {
    expect(code(await revoke("sender", { userId: "alice" }))).toEqual([403, "PETREL_FORBIDDEN"]);
    for (const as of [undefined, "shop.wrong", "nobody.x", "a.b.c"]) {
      const answer = await ask(app, as, {
        method: "POST",
        url: "/v1/tokens/revoke",
        headers: { "content-type": "application/json" },
        payload: "{ not json",
      });
      expect(code(answer)).toEqual([401, "PETREL_UNAUTHENTICATED"]);
    }
    const { accessToken } = await signIn();
    const forged = await revoke(`${accessToken.slice(0, -8)}AAAAAAAA`);
    expect(code(forged)).toEqual([401, "PETREL_TOKEN_INVALID"]);
  });

  test("audits a producer's revocations, but not users' own sign-outs, which have no limit", async () => {
    await revoke((await signIn()).accessToken);
    await revoke("shop", { userId: "alice" });
    const { items } = await auth.audit.list({ limit: 10, action: "token.revoke" });
    expect(items.map(({ actor, target }) => [actor, target])).toEqual([["key:shop", "alice"]]);
  });
});

describe("a ticket", () => {
  test("represents its token, once, for thirty seconds", async () => {
    const pair = await signIn();
    const answer = await askTicket(pair.accessToken);
    expect(answer.status).toBe(201);
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect(answer.body).toEqual({ ticket: expect.stringMatching(/^pt_/), expiresIn: 30 });
    const tickets = new TicketsStore<VerifiedToken>(store.scripts);
    const { ticket }: { ticket: string } = answer.body;
    const { jti, sid } = await claimsOf(pair);
    expect(await tickets.redeem(ticket)).toEqual({
      userId: "alice",
      jti,
      sessionId: sid,
      generation: 0,
      issuedAtMs: expect.any(Number),
      expiresAtMs: expect.any(Number),
    });
    expect(await tickets.redeem(ticket)).toBeUndefined();
    expect((await askTicket(pair.accessToken, {})).status).toBe(201);
  });

  test("lives no longer than its token", async () => {
    const pair = await signIn("alice", 20);
    clock.offsetMs = 15_500;
    const { expiresIn }: { expiresIn: number } = (await askTicket(pair.accessToken)).body;
    expect(expiresIn).toBeGreaterThan(0);
    expect(expiresIn).toBeLessThanOrEqual(5);
  });

  test("requires a valid token", async () => {
    const pair = await signIn();
    await revoke(pair.accessToken);
    expect(code(await askTicket(pair.accessToken))).toEqual([401, "PETREL_TOKEN_REVOKED"]);
    expect(code(await askTicket("shop"))).toEqual([401, "PETREL_TOKEN_INVALID"]);
    expect(code(await askTicket(undefined))).toEqual([401, "PETREL_UNAUTHENTICATED"]);
    const other = await signIn();
    expect((await askTicket(other.accessToken, { ttl: 9 })).status).toBe(400);
    expect((await store.redis.keys("petrel:ticket:*")).length).toBe(0);
  });
});
