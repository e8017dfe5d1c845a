// Tests how many requests an address and a key may make, over an application with routes like those of the services.
// Guarantees: look-ups of invented keys are bounded; good keys and other addresses are not affected.
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { TrustedProxies } from "../../kernel/http/client-address.js";
import { buildHttpApp, type HttpApp } from "../../kernel/http/http-app.js";
import { PetrelError } from "../../kernel/errors.js";
import { createLogger } from "../../kernel/logging/logging.js";
import type { LimitDecision } from "../../kernel/limits/limit-decision.js";
import { waitFor } from "../../testing/wait-for.js";
import { ProducerAuthenticator } from "../producers/authenticate-producer.js";
import { authorize, decorateWithProducer } from "../producers/authorize-producer.js";
import { createRequestLimiter, type RequestLimitsOptions } from "./limit-requests.js";
import { hashProducerSecret } from "../producers/producer-keys.js";

const logger = createLogger({ service: "test", level: "silent" });
let app: HttpApp;
let userChecks = 0;
let lookUps: number;
let nowMs: number;
const counted: Record<string, { refusals: number; local_refusals: number }> = {};

async function open(options: Partial<RequestLimitsOptions> = {}): Promise<void> {
  lookUps = 0;
  nowMs = 1_000_000;
  const clock = { wallMs: () => Date.now(), monotonicMs: () => nowMs };
  const authenticator = new ProducerAuthenticator({
    findKey: async (id) => {
      lookUps++;
      if (id !== "good") return undefined;
      const secretSha256 = hashProducerSecret("secret");
      return { id, owner: "shop", scopes: ["send"], secretSha256, sealedSecret: "sealed" };
    },
    signatures: { openSecret: () => "secret", spendNonce: async () => true, logger },
    clock,
  });
  app = await buildHttpApp({
    service: "test",
    version: "0",
    logger,
    readiness: () => ({ ready: true, checks: {} }),
    bodyLimitBytes: 1_000_000,
    bounds: { stopWindowMs: 0 },
  });
  const limiter = createRequestLimiter({
    authenticator,
    trustedProxies: new TrustedProxies([]),
    failedAuths: 10,
    clock,
    counts: { of: (name) => (counted[name] ??= { refusals: 0, local_refusals: 0 }) },
    ...options,
  });
  decorateWithProducer(app, limiter.shares);
  limiter.limit(app);
  app.post("/v1/send", { onRequest: authorize(authenticator, "send") }, () => ({ ok: true }));
  const onRequest = async (): Promise<void> => {
    userChecks++;
    throw new PetrelError("PETREL_TOKEN_INVALID", "This is no token.");
  };
  app.post("/v1/tickets", { onRequest }, () => ({ ok: true }));
  app.post("/v1/refresh", () => ({ ok: true }));
  await app.ready();
}

beforeEach(() => open());
afterEach(() => app.close());

async function send(authorization?: string, more: object = {}) {
  return app.inject({
    method: "POST",
    url: "/v1/send",
    headers: authorization === undefined ? {} : { authorization },
    ...more,
  });
}

describe("failed authentications", () => {
  test("up to the limit get 401; then an invented key costs no look-up, and a good one passes", async () => {
    expect((await send("Bearer good.secret")).statusCode).toBe(200);
    for (let i = 0; i < 10; i++) expect((await send(`Bearer made${i}.up`)).statusCode).toBe(401);
    const before = lookUps;
    for (let i = 0; i < 50; i++) {
      const { statusCode, headers, body } = await send(`Bearer more${i}.up`);
      expect(statusCode).toBe(429);
      expect(Number(headers["retry-after"])).toBeGreaterThanOrEqual(1);
      expect(headers["ratelimit-policy"]).toBe('"failed-authentications";q=10;w=60');
      expect(body).toContain("PETREL_RATE_LIMITED");
    }
    expect(lookUps).toBe(before);
    expect(counted["failed-authentications"]?.refusals).toBe(50);
    nowMs += 2_000;
    expect((await send("Bearer good.secret")).statusCode).toBe(200);
    // A guessed secret costs no look-up either, and gets the usual answer.
    expect((await send("Bearer good.wrong")).statusCode).toBe(401);
  });

  test("an address that keeps failing shuts out no good key that this process has not seen yet, and costs few look-ups", async () => {
    for (let i = 0; i < 10; i++) await send(`Bearer made${i}.up`);
    const before = lookUps;
    let accepted = 0;
    for (let tenth = 0; tenth < 50; tenth++) {
      for (let i = 0; i < 10; i++) await send(`Bearer on${tenth}and${i}.up`);
      nowMs += 100;
      if ((await send("Bearer good.secret")).statusCode === 200) accepted++;
    }
    expect(accepted).toBeGreaterThan(40);
    expect(lookUps - before).toBeLessThanOrEqual(5 * 20);
  });

  test("do not affect another address; and a minute later this one is free again", async () => {
    for (let i = 0; i < 11; i++) await send(`Bearer made${i}.up`);
    expect((await send("Bearer other.up", { remoteAddress: "192.0.2.7" })).statusCode).toBe(401);
    expect((await send("Bearer other.up")).statusCode).toBe(429);
    nowMs += 61_501;
    expect((await send("Bearer other.up")).statusCode).toBe(401);
  });

  test("count by the client's address behind a trusted proxy", async () => {
    await app.close();
    await open({ trustedProxies: new TrustedProxies(["127.0.0.1"]) });
    const from = (address: string) => ({
      headers: { authorization: "Bearer no.key", "x-forwarded-for": address },
    });
    for (let i = 0; i < 10; i++) await send(undefined, from("192.0.2.1"));
    expect((await send(undefined, from("192.0.2.1"))).statusCode).toBe(429);
    expect((await send(undefined, from("192.0.2.2"))).statusCode).toBe(401);
  });

  test("are not limited with 0", async () => {
    await app.close();
    await open({ failedAuths: 0 });
    for (let i = 0; i < 30; i++) expect((await send(`Bearer made${i}.up`)).statusCode).toBe(401);
  });
});

test("limits requests without a producer's credential per address", async () => {
  await app.close();
  await open({ requestsPerAddress: 3 });
  const refresh = (remoteAddress = "127.0.0.1") =>
    app.inject({ method: "POST", url: "/v1/refresh", remoteAddress });
  for (let i = 0; i < 3; i++) expect((await refresh()).statusCode).toBe(200);
  const over = await refresh();
  expect(over.statusCode).toBe(429);
  expect(over.headers["ratelimit"]).toMatch(/^"requests";r=0;t=1[01]$/);
  expect((await refresh("2001:db8::1")).statusCode).toBe(200);
  expect((await send("Bearer good.secret")).statusCode).toBe(200);
  expect((await app.inject({ url: "/health/live" })).statusCode).toBe(200);
});

test("a key id that the route does not ask for does not bypass it", async () => {
  await app.close();
  await open({ requestsPerAddress: 3 });
  expect((await send("Bearer good.secret")).statusCode).toBe(200);
  for (const headers of [
    { "petrel-key": "good" },
    { "petrel-key": "made-up" },
    { authorization: "Bearer good.wrong" },
  ]) {
    expect((await app.inject({ method: "POST", url: "/v1/refresh", headers })).statusCode).toBe(200);
  }
  for (const headers of [{ "petrel-key": "good" }, { authorization: "Bearer good.wrong" }]) {
    expect((await app.inject({ method: "POST", url: "/v1/refresh", headers })).statusCode).toBe(429);
  }
  expect((await send("Bearer good.secret")).statusCode).toBe(200);
});

test("on a route for users a key's id, however good, exempts from nothing, and nothing is checked for it", async () => {
  await app.close();
  await open({ requestsPerAddress: 3 });
  expect((await send("Bearer good.secret")).statusCode).toBe(200);
  userChecks = 0;
  const statuses: number[] = [];
  const user = { authorization: "Bearer a.b.c" };
  const shown = [{ "petrel-key": "good" }, { authorization: "Bearer good.guess" }, user];
  for (let i = 0; i < 10; i++) {
    const headers = { ...(i % 2 === 0 ? { "petrel-key": "good" } : {}), ...shown[i % 3] };
    statuses.push((await app.inject({ method: "POST", url: "/v1/tickets", headers })).statusCode);
  }
  expect(statuses).toEqual([401, 401, 401, ...Array.from({ length: 7 }, () => 429)]);
  expect(userChecks).toBe(3);
});

test("Authorization is what is checked, so its key counts: another one named beside it exempts from nothing", async () => {
  expect((await send("Bearer good.secret")).statusCode).toBe(200);
  const guess = (i: number) =>
    send(undefined, { headers: { "petrel-key": "good", authorization: `Bearer made${i}.up` } });
  for (let i = 0; i < 10; i++) await guess(i);
  expect((await guess(10)).statusCode).toBe(400);
  for (let i = 0; i < 10; i++) await send(`Bearer made${i}.up`);
  expect((await guess(11)).statusCode).toBe(429);
});

test("counts signed bodies that never end as failures: large ones are then not awaited", async () => {
  const { port } = new URL(await app.listen({ port: 0, host: "127.0.0.1" }));
  expect((await send("Bearer good.secret")).statusCode).toBe(200);
  let nonces = 0;
  const begin = async (bytes: number) => {
    const socket = connect(Number(port), "127.0.0.1");
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    const signature = createHash("sha256").update("a guess").digest("base64");
    socket.write(
      `POST /v1/send HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${bytes}\r\n` +
        `petrel-key: good\r\npetrel-id: n${nonces++}\r\npetrel-signature: v1,${signature}\r\n` +
        `petrel-timestamp: ${Math.floor(Date.now() / 1_000)}\r\n\r\n`,
    );
    await once(socket, "connect");
    return { socket, received: () => text };
  };
  let failed = 0;
  app.server.on("request", (_request, response: ServerResponse) => response.once("close", () => failed++));
  for (let i = 1; i <= 10; i++) {
    const { socket } = await begin(500_000);
    socket.write(Buffer.alloc(100_000));
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
    await waitFor(() => failed === i, { what: "the end of half a body" });
  }
  const large = await begin(500_000);
  large.socket.write(Buffer.alloc(500_000));
  await waitFor(() => large.received().includes("retryable"), { what: "an answer" });
  expect(large.received()).toMatch(/^HTTP\/1\.1 429 .*only small signed bodies/is);
  const small = await begin(10);
  small.socket.write("0123456789");
  await waitFor(() => small.received().includes("retryable"), { what: "an answer" });
  expect(small.received()).toMatch(/^HTTP\/1\.1 401 /);
  for (const { socket } of [large, small]) socket.destroy();
});

test("limits requests of a key", async () => {
  await app.close();
  const decisions: LimitDecision[] = [
    { allowed: true, limit: 5, remaining: 0, resetMs: 1 },
    { allowed: false, limit: 5, remaining: 0, retryAfterMs: 2_500 },
  ];
  await open({ perKey: { take: () => Promise.resolve(decisions.shift() ?? expect.fail()) } });
  expect((await send("Bearer good.secret")).statusCode).toBe(200);
  const over = await send("Bearer good.secret");
  expect(over.statusCode).toBe(429);
  expect(over.headers).toMatchObject({ "retry-after": "3", ratelimit: '"requests";r=0;t=3' });
  expect((await send("Bearer made.up")).statusCode).toBe(401);
});
