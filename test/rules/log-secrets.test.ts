// Flow: everything that a cluster does and suffers, at the most verbose level; then every line that it logged is
// searched.
// Guarantees: no log of any service holds a token, a secret, a ticket, a device token or a word of what was sent; what
// happened can still be read.
import { createHash, createHmac, randomBytes } from "node:crypto";
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import { signRequest } from "@petrel/shared/security/producers/request-signature";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient, openClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { callCluster, readState, registerPhone } from "../support/phones/cluster-with-phones.js";

const payload = `payload-${randomBytes(9).toString("hex")}`;
const title = `title-${randomBytes(9).toString("hex")}`;
/** What no line may hold, by what it is. */
const secrets = new Map<string, string>([
  ["a message's data", payload],
  ["a notification's text", title],
]);
/** Remembers it as a secret, and returns it. */
function secret(what: string, text: string): string {
  secrets.set(`${what} (${secrets.size})`, text);
  return text;
}

let simulator: TestApnsSimulator;
let cluster: TestCluster;
beforeAll(async () => {
  simulator = await startApnsSimulator();
  cluster = await startCluster({
    together: true,
    environment: {
      ...simulator.environment,
      LOG_LEVEL: "trace",
      ACCESS_LOG_SAMPLE: "1",
      ALLOW_TOKEN_IN_QUERY: "true",
      ACK_TIMEOUT_MS: "500",
      OFFLINE_SETTLE_MS: "100",
      ROUTE_GRACE_MS: "100",
      FALLBACK_RETRY_BASE_MS: "50",
      FALLBACK_RETRY_CAP_MS: "200",
      AUTH_TIMEOUT_MS: "300",
    },
  });
  secret("the API secret", cluster.apiKey.split(".")[1] ?? "");
  secret("the admin's secret", cluster.adminKey.split(".")[1] ?? "");
  secret("Apple's key", simulator.privateKey.split("\n")[1] ?? "");
});
afterAll(async () => {
  await cluster.stop();
  await simulator.stop();
});

const nodeUrl = (i = 0): string => cluster.nodeUrls[i] ?? "";
const post = (service: "auth" | "collect", path: string, body: unknown, authorization = cluster.adminKey) =>
  fetch(cluster[service].url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${authorization}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });

async function makeTokens(userId: string): Promise<{ accessToken: string; refreshToken?: string }> {
  const tokens = (await (await post("auth", "/v1/tokens", { userId })).json()) as Awaited<
    ReturnType<typeof makeTokens>
  >;
  secret("an access token", tokens.accessToken);
  // The signature alone would complete the rest.
  secret("an access token's signature", tokens.accessToken.split(".")[2] ?? "");
  if (tokens.refreshToken !== undefined) secret("a refresh token", tokens.refreshToken);
  return tokens;
}

async function liveALife(): Promise<void> {
  const { accessToken, refreshToken } = await makeTokens("log-user");
  const client = await connectClient({ url: nodeUrl(), token: accessToken, ack: "each" });
  await cluster.post("/v1/messages", { to: { user: "log-user" }, data: { payload } });
  await client.untilMessages(1);
  client.send({ type: "token", token: (await makeTokens("log-user")).accessToken });
  await client.frame("token_accepted");
  client.sendText(`{"type":"ack","seq":"${payload}"}`);
  await client.untilClosed();

  for (const query of [
    `token=${accessToken}`,
    `token=${secret("a bad token", `bad-${randomBytes(9).toString("hex")}`)}`,
  ]) {
    const other = openClient({ url: nodeUrl(1), query });
    await Promise.race([other.frame("welcome"), other.untilClosed()]);
    other.close();
  }
  const ticket = await fetch(`${cluster.auth.url}/v1/tickets`, {
    method: "POST",
    headers: { authorization: `Bearer ${accessToken}` },
  });
  if (ticket.status === 201) {
    const { ticket: text } = (await ticket.json()) as { ticket: string };
    for (let i = 0; i < 2; i++) {
      const other = openClient({ url: nodeUrl(1), query: `ticket=${secret("a ticket", text)}` });
      await Promise.race([other.frame("welcome"), other.untilClosed()]);
      other.close();
    }
  }
  if (refreshToken !== undefined) {
    for (let i = 0; i < 2; i++) {
      const answer = await post("auth", "/v1/tokens/refresh", { refreshToken });
      for (const text of Object.values((await answer.json()) as Record<string, unknown>)) {
        if (typeof text === "string" && text.length > 30) secret("a fresh token", text);
      }
    }
    await post("auth", "/v1/tokens/refresh", { refreshToken: `${refreshToken}x` });
  }
  await post("auth", "/v1/introspect", { token: accessToken });
  await post("auth", "/v1/tokens/revoke", { userId: "log-user" });
  const made = (await (await post("auth", "/v1/keys", { name: "log", scopes: ["read"] })).json()) as {
    id: string;
    secret: string;
  };
  secret("a made key's secret", made.secret);
  await post("auth", `/v1/keys/${made.id}/rotate`, undefined);
}

/** Tickets, valid and then spent; a stolen session, an ended one, and a token revoked by name. */
async function endSessions(): Promise<void> {
  const { accessToken } = await makeTokens("ticket-user");
  const answer = await post("auth", "/v1/tickets", undefined, accessToken);
  expect(answer.status).toBe(201);
  const ticket = secret("a good ticket", ((await answer.json()) as { ticket: string }).ticket);
  const first = openClient({ url: nodeUrl(), query: `ticket=${ticket}` });
  await first.frame("welcome");
  await openClient({ url: nodeUrl(1), query: `ticket=${ticket}` }).untilClosed();
  expect((await post("auth", "/v1/tokens/revoke", { jti: jtiOf(accessToken) })).status).toBe(204);
  await first.untilClosed();
  await openClient({ url: nodeUrl(), token: accessToken }).untilClosed();

  const session = await makeTokens("left-user");
  expect((await post("auth", "/v1/tokens/revoke", {}, session.accessToken)).status).toBe(204);
  const late = await post("auth", "/v1/tokens/refresh", { refreshToken: session.refreshToken });
  expect(late.status).toBe(401);
}

const jtiOf = (token: string): string =>
  (JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { jti: string }).jti;

/** Well signed, repeated, changed, and as a bearer where that is not enough. */
async function signRequests(): Promise<void> {
  const wanted = { name: "signs", scopes: ["send"], signing: true, require: "signature" };
  const key = (await (await post("auth", "/v1/keys", wanted)).json()) as { id: string; secret: string };
  secret("a signing key's secret", key.secret);
  const send = async (body: string, signedBody = body, id = randomBytes(16).toString("hex")) => {
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const bodySha256 = createHash("sha256").update(signedBody).digest("hex");
    const content = { id, timestamp, method: "POST", target: "/v1/messages", bodySha256 };
    const signature = signRequest(content, key.secret);
    secret("a nonce", id);
    secret("a good signature", signature);
    const headers = {
      "petrel-key": key.id,
      "petrel-id": id,
      "petrel-timestamp": timestamp,
      "petrel-signature": `v1,${signature}`,
      "content-type": "application/json",
    };
    return (await fetch(`${cluster.collect.url}/v1/messages`, { method: "POST", headers, body })).status;
  };
  const body = JSON.stringify({ to: { user: "log-user" }, data: payload });
  const nonce = randomBytes(16).toString("hex");
  expect(await send(body, body, nonce)).toBe(202);
  expect(await send(body, body, nonce)).toBe(401);
  expect(await send(body, `${body} `)).toBe(401);
  const bearer = await post(
    "collect",
    "/v1/messages",
    { to: { user: "log-user" }, data: payload },
    `${key.id}.${key.secret}`,
  );
  expect(bearer.status).toBe(401);
}

async function askWrongly(): Promise<void> {
  const { accessToken } = await makeTokens("log-user");
  const stolen = secret("a stranger's credential", randomBytes(32).toString("base64url"));
  await post("collect", "/v1/messages", { to: { user: "log-user" }, data: 1 }, `pk_test_api.${stolen}`);
  await post("collect", "/v1/messages", { to: { user: "log-user" }, data: payload, [payload]: payload });
  await fetch(`${cluster.collect.url}/v1/messages/${payload}?token=${accessToken}`);
  await fetch(`${cluster.auth.url}/v1/devices?access_token=${accessToken}`, {
    headers: { authorization: `Bearer ${accessToken}x` },
  });
  await fetch(`${cluster.collect.url}/v1/messages`, {
    method: "POST",
    headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
    body: `{"data":"${payload}`,
  });
  const id = secret("a signature's nonce", randomBytes(16).toString("hex"));
  const signature = createHmac("sha256", stolen).update(id).digest("base64");
  await fetch(`${cluster.collect.url}/v1/messages`, {
    method: "POST",
    headers: {
      "petrel-key": "pk_test_api",
      "petrel-id": id,
      "petrel-timestamp": String(Math.floor(Date.now() / 1000)),
      "petrel-signature": `v1,${secret("a signature", signature)}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({ to: { user: "log-user" }, data: payload }),
  });
  const silent = openClient({ url: nodeUrl() });
  await silent.untilClosed();
  const early = openClient({ url: nodeUrl() });
  await new Promise((resolve) => early.socket.once("open", resolve));
  early.sendText(`{"type":"auth","token":"${accessToken}`);
  await early.untilClosed();
}

async function ringPhones(): Promise<void> {
  const answers = [
    null,
    { status: 410, reason: "Unregistered", timestamp: Date.now() + 60_000 },
    { status: 400, reason: "BadDeviceToken" },
    { status: 400, reason: "PayloadEmpty" },
    { status: 503, reason: "ServiceUnavailable", times: 1 },
  ];
  const ids: string[] = [];
  for (const [i, answer] of answers.entries()) {
    const token = secret("a device token", randomBytes(32).toString("hex"));
    await registerPhone(cluster, `phone-${i}`, token);
    if (answer !== null) await simulator.setAnswer(token, answer);
    const sent = await cluster.post("/v1/messages", {
      to: { user: `phone-${i}` },
      data: { payload },
      notification: { title, body: title },
    });
    ids.push((sent as { id: string }).id);
  }
  const isOver = async (id: string): Promise<boolean> => (await readState(cluster, id)).timeline.length > 1;
  await waitFor(async () => (await Promise.all(ids.map(isOver))).every(Boolean), {
    what: "every phone to be tried",
    deadlineMs: 30_000,
  });
}

/** Redis refuses: its errors carry the commands, and those the messages. */
async function sufferRedis(): Promise<void> {
  const redis = (...command: string[]) => probeRedis(cluster.redis.url, [command]);
  await redis("CONFIG", "SET", "maxmemory", "1");
  const refused = await post("collect", "/v1/messages", {
    to: { user: "log-user" },
    data: payload,
    notification: { title, body: title },
  });
  expect(refused.status).toBe(503);
  await post("auth", "/v1/tokens", { userId: "log-user" });
  await redis("CONFIG", "SET", "maxmemory", "0");

  const { accessToken } = await makeTokens("broken");
  await cluster.post("/v1/messages", { to: { user: "broken" }, data: payload });
  const inboxes = (await redis("KEYS", "petrel:*:inbox:broken")) as unknown as string[][];
  const inbox = inboxes.flat(3)[0] ?? "";
  expect(inbox).toContain("inbox:broken");
  await redis("SET", inbox, payload);
  const client = openClient({ url: nodeUrl(), token: accessToken });
  await client.frame("welcome");
  await post("collect", "/v1/messages", { to: { user: "broken" }, data: payload });
  await waitFor(async () => (await cluster.newest("push-node-1").log()).includes("inbox not read"), {
    what: "the node to complain about the inbox",
    deadlineMs: 20_000,
  });
  client.close();
  cluster.redis.signal("SIGSTOP");
  const slow = post("collect", "/v1/messages", { to: { user: "log-user" }, data: payload });
  const slower = post("auth", "/v1/tokens", { userId: "log-user" });
  const third = openClient({ url: nodeUrl(), token: accessToken });
  await Promise.all([slow, slower]);
  cluster.redis.signal("SIGCONT");
  // Refused, or welcome if Redis went on in time.
  await Promise.race([third.frame("welcome"), third.untilClosed()]);
  third.close();
}

test("no log line contains confidential data", async () => {
  await liveALife();
  await endSessions();
  await signRequests();
  await askWrongly();
  await ringPhones();
  await sufferRedis();
  await callCluster(cluster, "GET", `${cluster.auth.url}/v1/keys`);

  const logs = await Promise.all(
    cluster.processes.map(async ({ name, log }) => ({ name, text: await log() })),
  );
  const found = logs.flatMap(({ name, text }) =>
    text
      .split("\n")
      .flatMap((line) =>
        [...secrets]
          .filter(([, hidden]) => line.includes(hidden))
          .map(([what]) => `${name}: ${what}: ${line}`),
      ),
  );
  const bytes = logs.reduce((sum, { text }) => sum + text.length, 0);
  process.stdout.write(
    `log-secrets: ${secrets.size} secrets sought in ${bytes} bytes of ${logs.length} logs, found ${found.length}\n`,
  );
  expect(found.slice(0, 5)).toEqual([]);
  // The search was meaningful: there are secrets of each kind, and each service has logged its trouble.
  expect(secrets.size).toBeGreaterThan(20);
  expect([...secrets.values()].every((text) => text.length >= 20)).toBe(true);
  const all = logs.map(({ text }) => text).join("\n");
  for (const trace of ["OOM", "inbox not read", "WRONGTYPE"]) expect(all, trace).toContain(trace);
  for (const { name, text } of logs) expect(text, name).toContain('"service"');
  for (const line of [
    /"requestId":"[^"]+","method":"POST","route":"\/v1\/messages","status":202,/,
    /"requestId":"[^"]+","method":"POST","route":"\/v1\/messages","status":503,/,
    /"method":"GET","route":"\/v1\/connect","status":101,/,
  ])
    expect(all).toMatch(line);
});
