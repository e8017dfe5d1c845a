// Tests of public keys as JSON.
// Guarantees: each refused key differs from a good one in one thing.
import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { readPublicJwk, toPublicJwk } from "./public-jwk.js";

const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const weakRsa = generateKeyPairSync("rsa", { modulusLength: 1024 });
const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" });

test("reads back what it publishes", () => {
  for (const { publicKey } of [ec, rsa]) {
    const jwk = toPublicJwk(publicKey);
    const read = readPublicJwk(JSON.parse(JSON.stringify(jwk)));
    expect(read).toMatchObject({ kid: jwk.kid, alg: jwk.alg });
    expect(read.key.equals(publicKey)).toBe(true);
    expect(jwk).not.toHaveProperty("d");
  }
});

test("a kid is the key's thumbprint (RFC 7638 3.1)", () => {
  const n =
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
  const { key } = readPublicJwk({ kid: "x", kty: "RSA", n, e: "AQAB" });
  expect(toPublicJwk(key).kid).toBe("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
});

const ecJwk = toPublicJwk(ec.publicKey);
test.each<[string, unknown]>([
  ["nothing", null],
  ["no kid", { ...ecJwk, kid: undefined }],
  ["a symmetric key", { kid: "s", kty: "oct", k: "AAAA", alg: "HS256" }],
  ["a symmetric member", { ...ecJwk, k: "AAAA" }],
  ["a private key", { ...ec.privateKey.export({ format: "jwk" }), kid: "p" }],
  ["another algorithm", { ...ecJwk, alg: "HS256" }],
  ["the other algorithm", { ...ecJwk, alg: "RS256" }],
  ["a key for encrypting, by its key_ops", { ...ecJwk, key_ops: ["encrypt"] }],
  ["a key for encryption", { ...ecJwk, use: "enc" }],
  ["another curve", { ...p384.publicKey.export({ format: "jwk" }), kid: "p384" }],
  ["a point off the curve", { ...ecJwk, x: ecJwk.y }],
  ["a weak key", { ...weakRsa.publicKey.export({ format: "jwk" }), kid: "weak" }],
  ["Ed25519", { ...generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }), kid: "ed" }],
])("refuses %s", (_what, jwk) => {
  expect(() => readPublicJwk(jwk)).toThrow();
});

test("writes only kinds of keys that it reads", () => {
  expect(() => toPublicJwk(p384.publicKey)).toThrow("P-256");
  expect(() => toPublicJwk(generateKeyPairSync("ed25519").publicKey)).toThrow("P-256");
});
