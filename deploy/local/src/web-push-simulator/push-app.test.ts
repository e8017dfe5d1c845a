// Tests what the Web Push simulator takes, refuses and shows, by a sender that this test writes itself from the RFCs.
import {
  createCipheriv,
  createECDH,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { encodeVapidKey } from "@petrel/shared/security/web-push/vapid-key";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { buildPushApp } from "./push-app.js";
import { type SubscriptionJson, Subscriptions } from "./subscriptions.js";

const ORIGIN = "http://127.0.0.1:7129";
const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" });
const nowSeconds = 1_800_000_000;

let app: HttpApp;
beforeAll(async () => {
  app = await buildPushApp({
    version: "0",
    logger: createLogger({ service: "test", level: "silent" }),
    origin: ORIGIN,
    subscriptions: new Subscriptions({ origin: ORIGIN, applicationServerKey: encodeVapidKey(own.publicKey) }),
    nowMs: () => nowSeconds * 1_000,
  });
});
afterAll(() => app.close());

let subscription: SubscriptionJson;
beforeEach(async () => {
  const made = await ask("POST", "/subscriptions");
  expect(made.statusCode).toBe(201);
  subscription = made.json<SubscriptionJson>();
});

const ask = (method: "GET" | "POST" | "PUT" | "DELETE", url: string, payload?: object) =>
  app.inject({
    method,
    url,
    headers: { host: "127.0.0.1:7129" },
    ...(payload === undefined ? {} : { payload }),
  });
const shown = async () =>
  (await ask("GET", `/subscriptions/${subscription.id}/notifications`)).json<unknown[]>();

interface Token {
  readonly alg?: string;
  readonly aud?: string;
  readonly exp?: number;
  readonly sub?: string;
}

function vapid(
  token: Token = {},
  { privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject } = own,
): string {
  const { alg = "ES256", aud = ORIGIN, exp = nowSeconds + 3_600, sub = "mailto:a@b.example" } = token;
  const text = [
    { typ: "JWT", alg },
    { aud, exp, sub },
  ]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  const signature = sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `vapid t=${text}.${signature.toString("base64url")}, k=${encodeVapidKey(publicKey)}`;
}

function encrypt(
  text: string,
  { p256dh, auth }: SubscriptionJson["keys"] = subscription.keys,
  delimiter = 2,
): Buffer {
  const ours = createECDH("prime256v1");
  ours.generateKeys();
  const [browser, salt] = [Buffer.from(p256dh, "base64url"), randomBytes(16)];
  const hkdf = (ikm: Buffer, saltOf: Buffer, info: Buffer | string, length: number) =>
    Buffer.from(hkdfSync("sha256", ikm, saltOf, info, length));
  const info = Buffer.concat([Buffer.from("WebPush: info\0"), browser, ours.getPublicKey()]);
  const ikm = hkdf(ours.computeSecret(browser), Buffer.from(auth, "base64url"), info, 32);
  const cipher = createCipheriv(
    "aes-128-gcm",
    hkdf(ikm, salt, "Content-Encoding: aes128gcm\0", 16),
    hkdf(ikm, salt, "Content-Encoding: nonce\0", 12),
  );
  const sealed = [
    cipher.update(text),
    cipher.update(Buffer.from([delimiter])),
    cipher.final(),
    cipher.getAuthTag(),
  ];
  return Buffer.concat([salt, Buffer.from([0, 0, 16, 0, 65]), ours.getPublicKey(), ...sealed]);
}

interface Push {
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: Buffer;
  readonly endpoint?: string;
}

async function push({
  headers = {},
  body = encrypt('{"a":1}'),
  endpoint = subscription.endpoint,
}: Push = {}) {
  const all: Record<string, string | undefined> = {
    host: "127.0.0.1:7129",
    authorization: vapid(),
    ttl: "60",
    "content-encoding": "aes128gcm",
    "content-type": "application/octet-stream",
    ...headers,
  };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const answer = await app.inject({
    method: "POST",
    url: new URL(endpoint).pathname,
    headers: given,
    payload: body,
  });
  return answer;
}

test("shows a valid push, decrypted, with what its headers say", async () => {
  expect(subscription).toEqual({
    id: expect.any(String),
    endpoint: expect.stringMatching(/^http:\/\/127\.0\.0\.1:7129\/push\/[\w-]{43}$/),
    expirationTime: null,
    keys: { p256dh: expect.stringMatching(/^B[\w-]{86}$/), auth: expect.stringMatching(/^[\w-]{22}$/) },
  });
  const answer = await push({ headers: { urgency: "high", topic: "score" } });
  expect([answer.statusCode, answer.headers["location"]]).toEqual([201, expect.stringContaining(ORIGIN)]);
  expect(await shown()).toEqual([
    { at: "2027-01-15T08:00:00.000Z", ttl: 60, urgency: "high", topic: "score", payload: { a: 1 } },
  ]);
  await push({ body: encrypt("plain") });
  expect(await shown()).toMatchObject([{}, { urgency: "normal", topic: null, payload: "plain" }]);
});

test("shows only the last push with one topic", async () => {
  for (const text of ["1", "2"]) await push({ headers: { topic: "score" }, body: encrypt(text) });
  await push({ headers: { topic: "other" }, body: encrypt("3") });
  expect(await shown()).toMatchObject([{ payload: 2 }, { payload: 3 }]);
});

test.each<[string, () => Push, number]>([
  ["no Authorization", () => ({ headers: { authorization: undefined } }), 401],
  ["another scheme", () => ({ headers: { authorization: "Bearer x" } }), 401],
  [
    "an invalid token",
    () => ({ headers: { authorization: `vapid t=x.y.z, k=${encodeVapidKey(own.publicKey)}` } }),
    401,
  ],
  ["another algorithm", () => ({ headers: { authorization: vapid({ alg: "none" }) } }), 401],
  ["another audience", () => ({ headers: { authorization: vapid({ aud: "https://push.example" }) } }), 401],
  ["an expired token", () => ({ headers: { authorization: vapid({ exp: nowSeconds - 1 }) } }), 401],
  [
    "a token for more than a day",
    () => ({ headers: { authorization: vapid({ exp: nowSeconds + 86_401 }) } }),
    401,
  ],
  ["a subject that cannot be written to", () => ({ headers: { authorization: vapid({ sub: "me" }) } }), 401],
  [
    "a signature of another key",
    () => ({ headers: { authorization: vapid({}, { ...own, privateKey: stranger.privateKey }) } }),
    401,
  ],
  ["another server's key", () => ({ headers: { authorization: vapid({}, stranger) } }), 403],
  ["no TTL", () => ({ headers: { ttl: undefined } }), 400],
  ["a TTL that is not a number", () => ({ headers: { ttl: "-1" } }), 400],
  ["an unknown urgency", () => ({ headers: { urgency: "urgent" } }), 400],
  ["a topic that is too long", () => ({ headers: { topic: "x".repeat(33) } }), 400],
  ["a topic with a dot", () => ({ headers: { topic: "a.b" } }), 400],
  ["another encoding", () => ({ headers: { "content-encoding": "aesgcm" } }), 415],
  ["no body", () => ({ body: Buffer.alloc(0) }), 400],
  ["a body that is too large", () => ({ body: encrypt("x".repeat(3_994)) }), 413],
  [
    "a body for another browser",
    () => ({ body: encrypt("x", { ...subscription.keys, auth: "A".repeat(22) }) }),
    400,
  ],
  ["a record that is not the last", () => ({ body: encrypt("x", subscription.keys, 1) }), 400],
  ["an unknown endpoint", () => ({ endpoint: `${ORIGIN}/push/x` }), 404],
])("refuses %s and shows nothing", async (_what, made, status) => {
  const answer = await push(made());
  expect([answer.statusCode, answer.json<{ reason: string }>().reason]).toEqual([status, expect.any(String)]);
  expect(await shown()).toEqual([]);
});

test("accepts the largest push it must accept", async () => {
  expect((await push({ body: encrypt("x".repeat(3_993)) })).statusCode).toBe(201);
});

test("answers as scripted, for a number of pushes or until told otherwise", async () => {
  const change = (answer: object | null) => ask("PUT", `/subscriptions/${subscription.id}`, { answer });
  expect((await change({ status: 429, retryAfter: 7, times: 1 })).statusCode).toBe(204);
  const limited = await push();
  expect([limited.statusCode, limited.headers["retry-after"]]).toEqual([429, "7"]);
  expect((await push()).statusCode).toBe(201);
  await change({ status: 410 });
  expect([(await push()).statusCode, (await push()).statusCode]).toEqual([410, 410]);
  await change(null);
  expect((await push()).statusCode).toBe(201);
  expect(await shown()).toHaveLength(2);
  for (const wrong of [{}, { answer: {} }, { answer: { status: 99 } }, { answer: null, more: 1 }]) {
    expect((await ask("PUT", `/subscriptions/${subscription.id}`, wrong)).statusCode).toBe(400);
  }
});

test("answers 404 for unknown paths; clears notifications and ends a subscription", async () => {
  await push();
  expect((await ask("DELETE", `/subscriptions/${subscription.id}/notifications`)).statusCode).toBe(204);
  expect(await shown()).toEqual([]);
  expect((await ask("DELETE", `/subscriptions/${subscription.id}`)).statusCode).toBe(204);
  expect((await ask("GET", `/subscriptions/${subscription.id}/notifications`)).statusCode).toBe(404);
  expect((await push()).statusCode).toBe(404);
});

test("refuses web pages and calls under another host name", async () => {
  const foreign = await app.inject({
    method: "POST",
    url: "/subscriptions",
    headers: { host: "evil.example" },
  });
  const page = await app.inject({
    method: "POST",
    url: "/subscriptions",
    headers: { host: "127.0.0.1:7129", origin: "https://evil.example" },
  });
  expect([foreign.statusCode, page.statusCode]).toEqual([403, 403]);
});
