// Flow: tokens that auth has not made: an identity provider's, and a business system's own by a shared secret.
// Guarantees: they work on sockets and on auth's routes as auth's own do, and are revoked by the same means.
import { createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient, openClient } from "@petrel/shared/testing/peers/ws-client";

const ISSUER = "https://id.example.com/";
const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const secret = randomBytes(48).toString("base64");

let directory: string;
let provider: Server;
let cluster: TestCluster;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "petrel-issuer-"));
  const secretFile = join(directory, "secret");
  writeFileSync(secretFile, secret, { mode: 0o600 });
  provider = createServer((_request, response) =>
    response.end(
      JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "p1", use: "sig" }] }),
    ),
  );
  await new Promise<void>((resolve) => provider.listen(0, "127.0.0.1", resolve));
  const { port } = provider.address() as AddressInfo;
  cluster = await startCluster({
    together: true,
    nodes: 1,
    environment: {
      EXTERNAL_ISSUER: ISSUER,
      EXTERNAL_JWKS_URL: `http://127.0.0.1:${port}/keys`,
      EXTERNAL_AUDIENCE: "https://push.example.com",
      TOKEN_HS256_SECRET_FILE: secretFile,
    },
  });
});
afterAll(async () => {
  await cluster?.stop();
  provider?.closeAllConnections();
  provider?.close();
  rmSync(directory, { recursive: true, force: true });
});

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

function providersToken(sub: string, more: object = {}): string {
  const iat = Math.floor(Date.now() / 1_000);
  const claims = {
    iss: ISSUER,
    aud: "https://push.example.com",
    sub,
    iat,
    exp: iat + 600,
    jti: `t-${sub}`,
    ...more,
  };
  const input = `${encode({ alg: "ES256", typ: "at+jwt", kid: "p1" })}.${encode(claims)}`;
  const signature = sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${input}.${signature.toString("base64url")}`;
}

function sharedSecretToken(sub: string, by = secret): string {
  const iat = Math.floor(Date.now() / 1_000);
  const claims = { iss: "petrel", aud: "petrel", sub, iat, exp: iat + 600, typ: "access" };
  const input = `${encode({ alg: "HS256", typ: "JWT", kid: "hs256" })}.${encode(claims)}`;
  return `${input}.${createHmac("sha256", by).update(input).digest("base64url")}`;
}

async function ask(method: string, path: string, credential: string, body?: object): Promise<Response> {
  return fetch(cluster.auth.url + path, {
    method,
    headers: {
      authorization: `Bearer ${credential}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

const url = (): string => cluster.nodeUrls[0] ?? "";

test.each([
  ["an identity provider", "auth0|42", providersToken],
  ["a business system itself", "alice", (sub: string) => sharedSecretToken(sub)],
])("tokens made by %s open sockets and can be signed out", async (_who, userId, make) => {
  const token = make(userId);
  const client = await connectClient({ url: url(), token });
  expect(await client.frame("welcome")).toMatchObject({ user: userId });
  expect((await ask("GET", "/v1/devices", token)).status).toBe(200);
  const introspected = await ask("POST", "/v1/introspect", cluster.apiKey, { token });
  expect(await introspected.json()).toMatchObject({ active: true, sub: userId });

  expect((await ask("POST", "/v1/tokens/revoke", token)).status).toBe(204);
  expect(await client.untilClosed()).toMatchObject({ code: 4403 });
  expect(await openClient({ url: url(), token }).untilClosed()).toMatchObject({ code: 4403 });
  expect((await ask("GET", "/v1/devices", token)).status).toBe(401);
});

test("a token without a jti stays revoked, however it is spelled", async () => {
  const token = providersToken("dora", { jti: undefined });
  const client = await connectClient({ url: url(), token });
  expect((await ask("POST", "/v1/tokens/revoke", token)).status).toBe(204);
  expect(await client.untilClosed()).toMatchObject({ code: 4403 });
  const start = token.lastIndexOf(".") + 1;
  const bytes = Buffer.from(token.slice(start), "base64url");
  const order = BigInt("0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
  const s = BigInt(`0x${bytes.subarray(32).toString("hex")}`);
  bytes.write((order - s).toString(16).padStart(64, "0"), 32, "hex");
  const last = token.slice(-1);
  const respelled = token.slice(0, -1) + String.fromCharCode(last.charCodeAt(0) + 1);
  for (const [one, code] of [
    [token, 4403],
    [token.slice(0, start) + bytes.toString("base64url"), 4403],
    [respelled, 4401],
  ] as const) {
    expect((await ask("GET", "/v1/devices", one)).status).toBe(401);
    expect(await openClient({ url: url(), token: one }).untilClosed()).toMatchObject({ code });
  }
});

test("all of a user: by time of issue", async () => {
  const before = providersToken("bob", { iat: Math.floor(Date.now() / 1_000) - 5, jti: "before" });
  const client = await connectClient({ url: url(), token: before });
  expect((await ask("POST", "/v1/tokens/revoke", cluster.apiKey, { userId: "bob" })).status).toBe(204);
  expect(await client.untilClosed()).toMatchObject({ code: 4403 });
  const after = providersToken("bob", { iat: Math.floor(Date.now() / 1_000) + 2, jti: "after" });
  (await connectClient({ url: url(), token: after })).close();
});

test("a token that only resembles theirs opens nothing", async () => {
  const [head, claims] = providersToken("carol").split(".");
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
  for (const token of [
    `${head}.${claims}.${Buffer.alloc(64).toString("base64url")}`,
    `${encode({ alg: "none", typ: "at+jwt", kid: "p1" })}.${claims}.AAAA`,
    sharedSecretToken("carol", pem),
  ]) {
    const refused = openClient({ url: url(), token });
    expect(await refused.untilClosed()).toMatchObject({ code: 4401 });
    expect(refused.frames.at(-1)).toMatchObject({ type: "error", code: "PETREL_TOKEN_INVALID" });
    expect((await ask("GET", "/v1/devices", token)).status).toBe(401);
  }
});
