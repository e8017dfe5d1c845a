// Tests a producer's credential: its form, its making and its comparison.
// Guarantees: what is made is read back; any other form is refused.
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import {
  hashProducerSecret,
  makeProducerKeyId,
  makeProducerSecret,
  parseProducerCredential,
  PRODUCER_KEY_ID_PATTERN,
  producerSecretMatches,
} from "./producer-keys.js";

test("reads a generated key back from its header", () => {
  const keyId = makeProducerKeyId();
  const secret = makeProducerSecret();
  expect(keyId).toMatch(new RegExp(PRODUCER_KEY_ID_PATTERN));
  expect(Buffer.from(secret, "base64url")).toHaveLength(32);
  expect(parseProducerCredential(`Bearer ${keyId}.${secret}`)).toEqual({ keyId, secret });
  expect(parseProducerCredential(`bearer ${keyId}.${secret}`)).toEqual({ keyId, secret });
});

test("splits only at the first dot", () => {
  expect(parseProducerCredential("Bearer a.b.c")).toEqual({ keyId: "a", secret: "b.c" });
});

test.each([
  "",
  "Bearer",
  "Bearer ",
  "Bearer key",
  "Bearer .secret",
  "Bearer key.",
  "Basic key.secret",
  "Bearer k/y.secret",
  "Bearer key.sec ret",
  "Bearer key.sécret",
  `Bearer ${"k".repeat(65)}.secret`,
  `Bearer key.${"s".repeat(257)}`,
  "xBearer key.secret",
])("%j is not a credential", (header) => {
  expect(parseProducerCredential(header)).toBeUndefined();
});

test("a secret matches its own hash only", () => {
  const secret = makeProducerSecret();
  const stored = hashProducerSecret(secret);
  expect(stored).toBe(createHash("sha256").update(secret).digest("hex"));
  expect(producerSecretMatches(secret, [Buffer.from(stored, "hex")])).toBe(true);
  expect(producerSecretMatches(`${secret}x`, [Buffer.from(stored, "hex")])).toBe(false);
  expect(producerSecretMatches(makeProducerSecret(), [Buffer.from(stored, "hex")])).toBe(false);
});
