// Flow: what strangers and broken programs send, to the running cluster.
// Guarantees: the contract's error shape, a clear message, and no change: the user's next number proves it.
import { gzipSync } from "node:zlib";
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient, openClient } from "@petrel/shared/testing/peers/ws-client";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 1, environment: { AUTH_TIMEOUT_MS: "500" } });
});
afterAll(() => cluster.stop());

interface Refusal {
  readonly status: number;
  readonly body: { readonly error: { code: string; message: string; retryable: boolean } };
}

async function refused(init: RequestInit, path = "/v1/messages"): Promise<Refusal> {
  const response = await fetch(cluster.collect.url + path, {
    method: "POST",
    ...init,
    headers: {
      authorization: `Bearer ${cluster.apiKey}`,
      "content-type": "application/json",
      ...(init.headers as Record<string, string> | undefined),
    },
  });
  return { status: response.status, body: (await response.json()) as Refusal["body"] };
}

const message = (fields: Record<string, unknown>): RequestInit => ({
  body: JSON.stringify({ to: { user: "target" }, data: 1, ...fields }),
});

test("invalid requests get the error shape and change nothing", async () => {
  const list = Array.from({ length: 1_001 }, (_, i) => `target${i}`);
  const cases: [name: string, init: RequestInit, status: number, code: string][] = [
    ["user-id characters", message({ to: { user: "no spaces" } }), 400, "PETREL_INVALID_REQUEST"],
    ["unknown field", message({ colour: "red" }), 400, "PETREL_INVALID_REQUEST"],
    ["no data", { body: JSON.stringify({ to: { user: "target" } }) }, 400, "PETREL_INVALID_REQUEST"],
    ["oversized data", message({ data: "x".repeat(64 * 1024) }), 413, "PETREL_PAYLOAD_TOO_LARGE"],
    ["1,001 users", message({ to: { users: list } }), 400, "PETREL_INVALID_REQUEST"],
    ["nobody", message({ to: {} }), 400, "PETREL_INVALID_REQUEST"],
    ["ttl as text", message({ ttlSeconds: "60" }), 400, "PETREL_INVALID_REQUEST"],
    ["ttl too long", message({ ttlSeconds: 2_592_001 }), 400, "PETREL_INVALID_REQUEST"],
    ["malformed JSON", { body: '{"to":' }, 400, "PETREL_INVALID_JSON"],
    ["empty body", { body: "" }, 400, "PETREL_INVALID_REQUEST"],
    [
      "content type",
      { body: "hello", headers: { "content-type": "text/plain" } },
      415,
      "PETREL_UNSUPPORTED_MEDIA_TYPE",
    ],
    [
      "gzip bomb",
      { body: gzipSync(Buffer.alloc(64 * 1024 * 1024, 32)), headers: { "content-encoding": "gzip" } },
      413,
      "PETREL_PAYLOAD_TOO_LARGE",
    ],
    [
      "not gzip",
      { body: "plainly not", headers: { "content-encoding": "gzip" } },
      400,
      "PETREL_INVALID_JSON",
    ],
    [
      "unknown key",
      { ...message({}), headers: { authorization: "Bearer pk_nobody.secret" } },
      401,
      "PETREL_UNAUTHENTICATED",
    ],
    ["topic characters", message({ to: { topic: "room 7" } }), 400, "PETREL_INVALID_REQUEST"],
    ["a topic's phone", message({ to: { topic: "news" }, fallback: "never" }), 400, "PETREL_INVALID_REQUEST"],
    ["all without admin", message({ to: { all: true } }), 403, "PETREL_FORBIDDEN"],
    [
      "deliverAt too far ahead",
      message({ deliverAt: "2099-01-01T00:00:00Z" }),
      400,
      "PETREL_INVALID_REQUEST",
    ],
    ["collapseKey too long", message({ collapseKey: "k".repeat(65) }), 400, "PETREL_INVALID_REQUEST"],
  ];
  for (const [name, init, status, code] of cases) {
    const answer = await refused(init);
    expect({ name, status: answer.status, code: answer.body.error.code }).toEqual({ name, status, code });
    expect(answer.body.error.message.length, name).toBeGreaterThan(5);
    expect(typeof answer.body.error.retryable, name).toBe("boolean");
  }

  const batch = {
    messages: [
      { to: { user: "target" }, data: "good" },
      { to: { user: "target" }, data: 1, colour: "red" },
      { to: { user: "target" }, data: "good too" },
    ],
  };
  const { results } = (await cluster.post("/v1/messages/batch", batch)) as {
    results: Record<string, unknown>[];
  };
  expect(results).toEqual([
    { id: expect.any(String), duplicate: false },
    { error: expect.objectContaining({ code: "PETREL_INVALID_REQUEST", status: 400 }) },
    { id: expect.any(String), duplicate: false },
  ]);

  const client = await connectClient({
    url: cluster.nodeUrls[0] ?? "",
    token: await cluster.tokenFor("target"),
  });
  expect((await client.untilMessages(2)).map(({ seq, data }) => ({ seq, data }))).toEqual([
    { seq: 1, data: "good" },
    { seq: 2, data: "good too" },
  ]);
  expect(await client.frame("welcome")).toMatchObject({ seq: 2 });
  client.close();
});

test("invalid tokens get 4401 after the upgrade", async () => {
  const url = cluster.nodeUrls[0] ?? "";
  const good = await cluster.tokenFor("ada");
  const [header = "", payload = "", signature = ""] = good.split(".");
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<string, unknown>;
  const { kid } = JSON.parse(Buffer.from(header, "base64url").toString()) as { kid: string };
  const hs256 = encode({ alg: "HS256", kid, typ: "JWT" });
  const cases: [name: string, token: string][] = [
    ["not a token", "garbage"],
    ["alg none", `${encode({ alg: "none", kid })}.${payload}.`],
    ["unsigned", `${header}.${payload}.`],
    ["another user's payload", `${header}.${encode({ ...claims, sub: "eve" })}.${signature}`],
    [
      "HS256",
      `${hs256}.${payload}.${createHmac("sha256", "x").update(`${hs256}.${payload}`).digest("base64url")}`,
    ],
  ];
  for (const [name, token] of cases) {
    const client = openClient({ url, token });
    expect({ name, ...(await client.untilClosed()) }).toMatchObject({ name, code: 4401 });
    expect(client.frames, name).toEqual([
      expect.objectContaining({
        type: "error",
        action: "refresh",
        code: expect.stringMatching(/^PETREL_TOKEN_/),
      }),
    ]);
  }
  const silent = openClient({ url });
  expect(await silent.untilClosed()).toMatchObject({ code: 4401 });
  expect(silent.frames).toEqual([expect.objectContaining({ code: "PETREL_AUTH_TIMEOUT" })]);
});

test("invalid frames close with the right code", async () => {
  const url = cluster.nodeUrls[0] ?? "";
  const token = await cluster.tokenFor("frames");
  const cases: [name: string, frame: string | Buffer, code: number][] = [
    ["not JSON", "hello", 4400],
    ["unknown type", '{"type":"dance"}', 4400],
    ["not an object", "[1]", 4400],
    ["ack beyond", '{"type":"ack","seq":1}', 4400],
    ["binary", Buffer.from('{"type":"ping"}'), 1003],
    ["too large", "x".repeat(128 * 1024 + 1), 1009],
  ];
  for (const [name, frame, code] of cases) {
    const client = await connectClient({ url, token });
    client.socket.send(frame);
    expect({ name, ...(await client.untilClosed()) }).toMatchObject({ name, code });
  }
  const client = await connectClient({ url, token });
  client.send({ type: "subscribe", topic: "news" });
  expect(await client.frame("error")).toMatchObject({ code: "PETREL_FORBIDDEN", ref: "news" });
  client.send({ type: "ping", ignored: true });
  await client.frame("pong");
  client.close();
});
