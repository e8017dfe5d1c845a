// signing-keyring -> here: makes a key pair for users' tokens, and opens a stored one.
// Guarantees: a stored key opens only with the key of KEY_ENCRYPTION_FILE and under its own name. The published part is
// derived from the private part, so the two always match.
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import { describeError } from "@petrel/shared/kernel/errors";
import type { SigningKeyRecord } from "@petrel/shared/redis/auth/signing-keys-store";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { type PublicJwk, toPublicJwk } from "@petrel/shared/security/tokens/public-jwk";
import type { SigningKey } from "@petrel/shared/security/tokens/sign-token";
import type { TokenAlgorithm } from "@petrel/shared/security/tokens/token-algorithm";
import type { VerificationKey } from "@petrel/shared/security/tokens/verify-token";

export interface OpenKey {
  readonly signing: SigningKey;
  readonly verification: VerificationKey;
  readonly publicJwk: PublicJwk;
}

/** NIST SP 800-57 part 1 table 2: 112 bits of security, enough for a key that is rotated. */
const RSA_BITS = 2048;

/** @returns a record in the state `upcoming` */
export async function makeSigningKey(
  alg: TokenAlgorithm,
  cipher: AtRestCipher,
  nowMs: number,
): Promise<SigningKeyRecord> {
  const { publicKey, privateKey } = await generatePair(alg);
  const { kid } = toPublicJwk(publicKey);
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const sealedPrivateKey = cipher.encrypt(pem, sealContext(kid));
  return { kid, alg, state: "upcoming", sealedPrivateKey, createdAtMs: nowMs };
}

function generatePair(
  alg: TokenAlgorithm,
): Promise<{ readonly publicKey: KeyObject; readonly privateKey: KeyObject }> {
  return alg === "ES256"
    ? promisify(generateKeyPair)("ec", { namedCurve: "P-256" })
    : promisify(generateKeyPair)("rsa", { modulusLength: RSA_BITS });
}

/** @throws Error if it was sealed with another key, or its `kid` does not match the key */
export function openSigningKey(record: SigningKeyRecord, cipher: AtRestCipher): OpenKey {
  let pem: string;
  try {
    pem = cipher.decrypt(record.sealedPrivateKey, sealContext(record.kid));
  } catch (error) {
    throw new Error(`KEY_ENCRYPTION_FILE cannot decrypt the signing key in Redis: ${describeError(error)}`, {
      cause: error,
    });
  }
  const privateKey = createPrivateKey(pem);
  const publicKey = createPublicKey(privateKey);
  const publicJwk = toPublicJwk(publicKey);
  const { kid, alg } = publicJwk;
  if (kid !== record.kid) throw new Error(`the signing key ${record.kid} in Redis does not match its kid`);
  return { signing: { kid, alg, privateKey }, verification: { kid, alg, key: publicKey }, publicJwk };
}

/** @throws Error if it was sealed with a key that is not available */
export function resealSigningKey(record: SigningKeyRecord, cipher: AtRestCipher): SigningKeyRecord {
  const context = sealContext(record.kid);
  const sealedPrivateKey = cipher.encrypt(cipher.decrypt(record.sealedPrivateKey, context), context);
  return { ...record, sealedPrivateKey };
}

function sealContext(kid: string): string {
  return `signing-key:${kid}`;
}
