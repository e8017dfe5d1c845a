// Tests sign-out, revocation and tickets as their callers see them, on a real Redis.
// Guarantees: in each test what was not revoked stays good.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { TicketsStore } from "@petrel/shared/redis/tickets-store";
import type { VerifiedToken } from "@petrel/shared/security/verified-token";
import { openStore, type OpenStore } from "@petrel/shared/testing/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { type AuthDeps, buildApp } from "../app.js";
import { addKey, type Answer, ask, type TokenPair } from "../testing/auth-caller.js";
import { makeAuthDeps } from "../testing/make-auth-deps.js";

const clock = {
  offsetMs: 0,
  wallMs: () => Date.now() + clock.offsetMs,
  monotonicMs: () => performance.now(),
};

let store: OpenStore;
let deps: AuthDeps;
let app: HttpApp;
beforeAll(async () => void (store = await openStore()));
beforeEach(async () => {
  await store.clear();
  clock.offsetMs = 0;
  deps = await makeAuthDeps({ scripts: store.scripts, partitionCount: 2, clock });
  app = await buildApp(deps);
  await addKey(deps.producerKeys, "shop", ["tokens", "introspect"]);
  await addKey(deps.producerKeys, "sender", ["send", "admin"]);
});
afterAll(() => store.close());

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
    "the body %j is not for users, and changes nothing",
    async (body) => {
      const pair = await signIn();
      const before = await store.snapshot();
      expect((await revoke(pair.accessToken, body)).status).toBe(400);
      expect(await store.snapshot()).toEqual(before);
    },
  );
});

describe("as a business system", () => {
  test("a user: all so far; who signs in anew is not concerned", async () => {
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

  test.each([
    undefined,
    {},
    { userId: "a", jti: "j" },
    { userId: "a b" },
    { jti: "a b" },
    { jti: "" },
    { x: 1 },
  ])("the body %j says not which", async (body) => {
    const answer = await revoke("shop", body);
    expect(code(answer)).toEqual([400, "PETREL_INVALID_REQUEST"]);
  });

  test("others may not, and a stranger learns nothing of the body", async () => {
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

  test("it is noted what a producer revoked; not what users end themselves, of which there is no end", async () => {
    await revoke((await signIn()).accessToken);
    await revoke("shop", { userId: "alice" });
    const { items } = await deps.audit.list({ limit: 10, action: "token.revoke" });
    expect(items.map(({ actor, target }) => [actor, target])).toEqual([["key:shop", "alice"]]);
  });
});

describe("a ticket", () => {
  test("stands for its token, once, for thirty seconds", async () => {
    const pair = await signIn();
    const answer = await askTicket(pair.accessToken);
    expect(answer.status).toBe(201);
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect(answer.body).toEqual({ ticket: expect.stringMatching(/^pt_/), expiresIn: 30 });
    const tickets = new TicketsStore<VerifiedToken>(store.redis);
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

  test("is for holders of a good token only", async () => {
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
