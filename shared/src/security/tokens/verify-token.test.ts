// Tests what a token must be, by the attacks of RFC 8725 and by each claim.
// Guarantees: each refused token differs from a good one in one thing.
import { createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import jwt from "jsonwebtoken";
import { beforeAll, expect, test } from "vitest";
import type { ErrorCode } from "../../protocol/error-codes.js";
import { createSignToken, type SigningKey } from "./sign-token.js";
import { createVerifyToken, type VerificationKey } from "./verify-token.js";

const nowMs = Date.UTC(2026, 0, 1);
const nowSeconds = nowMs / 1000;
const state = { nowMs };
const clock = { wallMs: () => state.nowMs, monotonicMs: () => state.nowMs };

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const pairs: { ec: Pair; otherEc: Pair; rsa: Pair } = {
  ec: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  otherEc: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
};
const keys = new Map<string, VerificationKey>([
  ["ec1", { kid: "ec1", alg: "ES256", key: pairs.ec.publicKey }],
  ["ec2", { kid: "ec2", alg: "ES256", key: pairs.otherEc.publicKey }],
  ["rsa1", { kid: "rsa1", alg: "RS256", key: pairs.rsa.publicKey }],
]);
const ec1: SigningKey = { kid: "ec1", alg: "ES256", privateKey: pairs.ec.privateKey };

const verify = createVerifyToken({
  issuers: [{ issuer: "petrel", audience: "petrel", findKey: (kid) => Promise.resolve(keys.get(kid)) }],
  clock,
});
const sign = createSignToken({ issuer: "petrel", audience: "petrel", clock });
const content = { userId: "alice", generation: 3, ttlSeconds: 60 };

const goodClaims = {
  iss: "petrel",
  aud: "petrel",
  sub: "alice",
  iat: nowSeconds,
  exp: nowSeconds + 60,
  jti: "j1",
  typ: "access",
  gen: 3,
};

/** A token with changed claims and a valid signature. */
function signed(changed: Readonly<Record<string, unknown>>, header: object = {}): string {
  const claims: Record<string, unknown> = { ...goodClaims, ...changed };
  for (const [name, value] of Object.entries(claims)) if (value === undefined) delete claims[name];
  return jwt.sign(JSON.stringify(claims), pairs.ec.privateKey, {
    algorithm: "ES256",
    header: { alg: "ES256", typ: "JWT", kid: "ec1", ...header },
  });
}

function base64url(value: unknown): string {
  return Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
}

function withCode(code: ErrorCode) {
  return expect.objectContaining({ code });
}

beforeAll(async () => {
  // The base of all that follows: unchanged, it passes.
  await verify(signed({}));
});

test("verifies what was signed, with its optional claims", async () => {
  const device = { id: "phone-1", platform: "ios" };
  const topics = [
    { topic: "news", can: ["subscribe"] },
    { topic: "room.*", can: ["subscribe", "publish"] },
  ] as const;
  const { token, jti, expiresAtMs } = sign(ec1, { ...content, device, topics });
  expect(expiresAtMs).toBe(nowMs + 60_000);
  const verified = await verify(token);
  expect(verified).toEqual({
    userId: "alice",
    jti,
    issuedAtMs: nowMs,
    expiresAtMs,
    generation: 3,
    device,
    topics,
  });
  expect(Object.isFrozen(verified)).toBe(true);
  expect(await verify(sign(ec1, content).token)).not.toHaveProperty("device");
  const rsa: SigningKey = { kid: "rsa1", alg: "RS256", privateKey: pairs.rsa.privateKey };
  expect((await verify(sign(rsa, content).token)).userId).toBe("alice");
  expect(sign(ec1, content).jti).not.toBe(sign(ec1, content).jti);
});

test("a token expires soon after its time, and not before", async () => {
  const { token } = sign(ec1, content);
  try {
    state.nowMs = nowMs + 64_999;
    await verify(token);
    state.nowMs = nowMs + 65_000;
    await expect(verify(token)).rejects.toEqual(withCode("PETREL_TOKEN_EXPIRED"));
  } finally {
    state.nowMs = nowMs;
  }
});

test.each<[string, Readonly<Record<string, unknown>>]>([
  ["no iss", { iss: undefined }],
  ["another iss", { iss: "someone" }],
  ["no aud", { aud: undefined }],
  ["another aud", { aud: "billing" }],
  ["other auds", { aud: ["billing", "mail"] }],
  ["no sub", { sub: undefined }],
  ["an empty sub", { sub: "" }],
  ["a sub that is not a user id", { sub: "alice smith" }],
  ["a sub with a brace", { sub: "{p1}" }],
  ["a sub that is too long", { sub: "a".repeat(129) }],
  ["a number as sub", { sub: 7 }],
  ["no iat", { iat: undefined }],
  ["an iat in the future", { iat: nowSeconds + 61 }],
  ["no exp", { exp: undefined }],
  ["a string as exp", { exp: String(nowSeconds + 60) }],
  ["an nbf in the future", { nbf: nowSeconds + 30 }],
  ["no jti", { jti: undefined }],
  ["a jti with a line end", { jti: "a\nb" }],
  ["a jti that is too long", { jti: "a".repeat(129) }],
  ["a number as sid", { sid: 7 }],
  ["a sid with a brace", { sid: "{p1}" }],
  ["no typ", { typ: undefined }],
  ["the typ of another kind", { typ: "refresh" }],
  ["no gen", { gen: undefined }],
  ["a negative gen", { gen: -1 }],
  ["a broken gen", { gen: 1.5 }],
  ["a string as gen", { gen: "3" }],
  ["a device without id", { device: { platform: "ios" } }],
  ["a device with a strange platform", { device: { id: "d", platform: "a/b" } }],
  ["topics that are not a list", { topics: "news" }],
  ["topics that are not names", { topics: [1] }],
  ["a topic with a star in its middle", { topics: ["a*b"] }],
  ["a topic with an unknown right", { topics: [{ topic: "a", can: ["read"] }] }],
])("%s is invalid", async (_what, changed) => {
  await expect(verify(signed(changed))).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
});

test("refuses alg none, with and without a signature", async () => {
  for (const alg of ["none", "None", "NONE"]) {
    const unsigned = `${base64url({ alg, typ: "JWT", kid: "ec1" })}.${base64url(goodClaims)}.`;
    await expect(verify(unsigned)).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
    await expect(verify(`${unsigned}AAAA`)).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
  }
});

test.each(["ec1", "rsa1"])("refuses HS256 with the public key %s as the secret", async (kid) => {
  const publicKey = keys.get(kid)?.key;
  const pem = publicKey?.export({ type: "spki", format: "pem" }).toString() ?? "";
  for (const secret of [pem, pem.trim(), Buffer.from(JSON.stringify(publicKey?.export({ format: "jwk" })))]) {
    const input = `${base64url({ alg: "HS256", typ: "JWT", kid })}.${base64url(goodClaims)}`;
    const signature = createHmac("sha256", secret).update(input).digest("base64url");
    await expect(verify(`${input}.${signature}`)).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
  }
});

test("the header cannot choose another algorithm than the key's", async () => {
  const token = jwt.sign(goodClaims, pairs.rsa.privateKey, { algorithm: "PS256", keyid: "rsa1" });
  await expect(verify(token)).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
  const renamed = jwt.sign(goodClaims, pairs.rsa.privateKey, { algorithm: "RS256", keyid: "ec1" });
  await expect(verify(renamed)).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
});

test("refuses a signature by another key, a changed payload, a changed header", async () => {
  await expect(verify(signed({}, { kid: "ec2" }))).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
  const [header, , signature] = signed({}).split(".");
  const forged = `${header}.${base64url({ ...goodClaims, sub: "bob" })}.${signature}`;
  await expect(verify(forged)).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
});

test("refuses an unknown kid, none, and one that is not a string", async () => {
  for (const kid of ["nobody", undefined, "", 7, "k".repeat(200)]) {
    await expect(verify(signed({}, { kid }))).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
  }
});

test("refuses a critical extension (RFC 7515 4.1.11)", async () => {
  await expect(verify(signed({}, { crit: ["exp"] }))).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
});

test.each([
  "",
  "x",
  "a.b",
  "a.b.c",
  "a.b.c.d.e",
  `${base64url("null")}.${base64url("{}")}.AAAA`,
  `${base64url("[]")}.${base64url("{}")}.AAAA`,
  `${base64url("not json")}.${base64url("{}")}.AAAA`,
])("%j is not a token", async (text) => {
  await expect(verify(text)).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
});

test("refuses claims that are not an object, and enormous tokens", async () => {
  const text = jwt.sign("just text", pairs.ec.privateKey, { algorithm: "ES256", keyid: "ec1" });
  await expect(verify(text)).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
  await expect(verify(signed({ pad: "x".repeat(20_000) }))).rejects.toEqual(withCode("PETREL_TOKEN_INVALID"));
});

test("if the keys are unavailable, the token is neither good nor bad", async () => {
  const findKey = () => Promise.reject(new Error("down"));
  const unavailable = createVerifyToken({
    issuers: [{ issuer: "petrel", audience: "petrel", findKey }],
    clock,
  });
  await expect(unavailable(signed({}))).rejects.toThrow("down");
});
