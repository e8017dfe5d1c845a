// Flow: tokens are revoked while their users are connected to two nodes.
// Guarantees: within a second every node closes what lives under them, without waiting for a lease or a new
// registration; a node that was cut off does so once its link is back; the tokens are refused everywhere from then on.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { startFaultProxy, type FaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient, openClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";

const REVOKED = { type: "error", code: "PETREL_TOKEN_REVOKED", action: "stop" };

interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
}

let redis: TestRedis;
let proxy: FaultProxy;
let cluster: TestCluster;

beforeAll(async () => {
  redis = await startRedis();
  proxy = await startFaultProxy({ targetPort: redis.port });
  cluster = await startCluster({
    together: true,
    redis,
    // Heartbeats come every ten minutes, so a close within seconds was announced.
    environment: { ROUTE_LEASE_MS: "1800000" },
    environmentOf: (name): Record<string, string> =>
      name === "push-node-2" ? { REDIS_URL: `redis://127.0.0.1:${proxy.port}` } : {},
  });
});
afterAll(async () => {
  await cluster?.stop();
  await proxy?.stop();
  await redis?.stop();
});

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

async function call(
  method: string,
  path: string,
  credential: string,
  body?: unknown,
  url = cluster.auth.url,
): Promise<Answer> {
  const response = await askService(url + path, {
    method,
    headers: {
      authorization: `Bearer ${credential}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? undefined : (JSON.parse(text) as unknown) };
}

async function signIn(userId: string, more: object = {}): Promise<Tokens> {
  const { status, body } = await call("POST", "/v1/tokens", cluster.apiKey, { userId, ...more });
  expect(status).toBe(201);
  return body as Tokens;
}

function connect(node: number, { accessToken }: Tokens): Promise<WsClient> {
  return connectClient({ url: cluster.nodeUrls[node] ?? "", token: accessToken });
}

const claimsOf = ({ accessToken }: Tokens): Readonly<Record<string, unknown>> =>
  JSON.parse(Buffer.from(accessToken.split(".")[1] ?? "", "base64url").toString()) as Record<string, unknown>;

async function expectRevoked(client: WsClient, deadlineMs?: number): Promise<void> {
  expect(await client.untilClosed(deadlineMs)).toMatchObject({ code: 4403 });
  expect(client.frames.at(-1)).toMatchObject(REVOKED);
}

async function expectOpen(client: WsClient): Promise<void> {
  client.send({ type: "ping" });
  await client.frame("pong");
  expect(client.closed()).toBeUndefined();
  client.close();
}

/** @returns how long after the answer the last of them closed, ms; negative if it was before */
async function timeCloses(clients: readonly WsClient[], revoke: () => Promise<Answer>): Promise<number> {
  let lastAtMs = 0;
  for (const { socket } of clients) socket.once("close", () => (lastAtMs = performance.now()));
  expect((await revoke()).status).toBe(204);
  const answeredAtMs = performance.now();
  for (const client of clients) await expectRevoked(client);
  return lastAtMs - answeredAtMs;
}

/** @returns the answer of every route that takes this token */
async function tryEverywhere(tokens: Tokens): Promise<void> {
  for (const url of cluster.nodeUrls) {
    const client = openClient({ url, token: tokens.accessToken });
    await expectRevoked(client);
    expect(client.frames).toHaveLength(1);
  }
  const revoked = { status: 401, body: { error: { code: "PETREL_TOKEN_REVOKED" } } };
  expect(await call("GET", "/v1/devices", tokens.accessToken)).toMatchObject(revoked);
  expect(await call("POST", "/v1/tickets", tokens.accessToken)).toMatchObject(revoked);
  expect(await call("POST", "/v1/tokens/revoke", tokens.accessToken)).toMatchObject(revoked);
  const introspected = await call("POST", "/v1/introspect", cluster.apiKey, { token: tokens.accessToken });
  expect(introspected).toEqual({ status: 200, body: { active: false } });
}

test("by user: sockets on both nodes, tickets and refresh tokens; the unexpired JWT is refused everywhere", async () => {
  const [phone, page, other] = [await signIn("alice"), await signIn("alice"), await signIn("bob")];
  const clients = [await connect(0, phone), await connect(1, phone), await connect(1, page)];
  const bystanders = [await connect(0, other), await connect(1, other)];
  const ticket = ((await call("POST", "/v1/tickets", page.accessToken)).body as { ticket: string }).ticket;

  const lateMs = await timeCloses(clients, () =>
    call("POST", "/v1/tokens/revoke", cluster.apiKey, { userId: "alice" }),
  );
  process.stdout.write(
    `revoked by user: the last of 3 sockets closed ${lateMs.toFixed(1)} ms after the 204\n`,
  );

  for (const tokens of [phone, page]) await tryEverywhere(tokens);
  await expectRevoked(openClient({ url: cluster.nodeUrls[0] ?? "", query: `ticket=${ticket}` }));
  const refreshed = await call("POST", "/v1/tokens/refresh", "none", { refreshToken: phone.refreshToken });
  expect(refreshed.status).toBe(401);

  // After a new sign-in everything works again, but the old token stays refused, on the open connection too.
  const again = await signIn("alice");
  const client = await connect(1, again);
  client.send({ type: "token", token: page.accessToken });
  await expectRevoked(client);
  await expectOpen(await connect(0, again));
  for (const bystander of bystanders) await expectOpen(bystander);
});

test("by session: a sign-out ends that session on both nodes, and no other", async () => {
  const [mine, kept] = [await signIn("carol"), await signIn("carol")];
  const clients = [await connect(0, mine), await connect(1, mine)];
  const others = [await connect(0, kept), await connect(1, kept)];
  const lateMs = await timeCloses(clients, () => call("POST", "/v1/tokens/revoke", mine.accessToken));
  process.stdout.write(`signed out: the last of 2 sockets closed ${lateMs.toFixed(1)} ms after the 204\n`);
  await tryEverywhere(mine);
  for (const client of others) await expectOpen(client);
});

test("by token: only that one", async () => {
  const tokens = await signIn("dave");
  const renewed = (await call("POST", "/v1/tokens/refresh", "none", { refreshToken: tokens.refreshToken }))
    .body as Tokens;
  const clients = [await connect(0, tokens), await connect(1, tokens)];
  const other = await connect(0, renewed);
  const lateMs = await timeCloses(clients, () =>
    call("POST", "/v1/tokens/revoke", cluster.apiKey, { jti: claimsOf(tokens)["jti"] }),
  );
  process.stdout.write(`by token: the last of 2 sockets closed ${lateMs.toFixed(1)} ms after the 204\n`);
  await tryEverywhere(tokens);
  await expectOpen(other);
});

test.each(["cut", "stall"] as const)(
  "a node whose link to Redis is gone (%s) closes them once it is back; until then nobody else is harmed",
  async (fault) => {
    const userId = `erin-${fault}`;
    const [tokens, other] = [await signIn(userId), await signIn(`frank-${fault}`)];
    const near = await connect(0, tokens);
    const far = await connect(1, tokens);
    const bystander = await connect(1, other);
    proxy[fault]();
    const revoked = await call("POST", "/v1/tokens/revoke", cluster.apiKey, { userId });
    expect(revoked.status).toBe(204);
    await expectRevoked(near);
    // It cannot have heard.
    expect(far.closed()).toBeUndefined();
    const healedAtMs = performance.now();
    proxy.heal();
    await expectRevoked(far, 30_000);
    const lateMs = performance.now() - healedAtMs;
    process.stdout.write(`link back (${fault}): closed ${Math.round(lateMs)} ms after\n`);
    await waitFor(async () => (await askService(`${cluster.nodes[1]?.url}/health/ready`)).ok, {
      what: "the node to be ready",
      deadlineMs: 30_000,
    });
    await expectOpen(bystander);
  },
);

test("a short-lived token: announced at once, renewed in place, closed with 4401 at its end", async () => {
  const short = await signIn("grace", { ttlSeconds: 6 });
  const [renewed, left] = [await connect(0, short), await connect(1, short)];
  for (const client of [renewed, left]) {
    expect((await client.frame("token_expiring"))["inSeconds"]).toBeLessThanOrEqual(6);
  }
  renewed.send({ type: "token", token: (await signIn("grace", { ttlSeconds: 300 })).accessToken });
  expect((await renewed.frame("token_accepted"))["expiresIn"]).toBeGreaterThan(200);
  expect(await left.untilClosed(60_000)).toMatchObject({ code: 4401 });
  expect(left.frames.at(-1)).toMatchObject({ code: "PETREL_TOKEN_EXPIRED", action: "refresh" });
  await expectOpen(renewed);
});

test("a ticket connects once; its connection is revoked with the token it was created with", async () => {
  const tokens = await signIn("heidi");
  const { ticket } = (await call("POST", "/v1/tickets", tokens.accessToken)).body as { ticket: string };
  const query = `ticket=${ticket}`;
  const client = await connectClient({ url: cluster.nodeUrls[0] ?? "", query });
  const second = openClient({ url: cluster.nodeUrls[1] ?? "", query });
  expect(await second.untilClosed()).toMatchObject({ code: 4401 });
  expect(second.frames).toMatchObject([{ code: "PETREL_TICKET_INVALID", action: "refresh" }]);
  await timeCloses([client], () => call("POST", "/v1/tokens/revoke", tokens.accessToken));
});
