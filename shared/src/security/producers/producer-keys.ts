// A producer's credential: its form in a header, its making, and its comparison with the stored hash.
// Guarantees: a secret has 256 random bits and only its SHA-256 is stored; comparing takes the same time wherever the
// difference is.
import { hash, randomBytes, timingSafeEqual } from "node:crypto";

/** A key's id: the part of a credential before the dot. */
export const PRODUCER_KEY_ID_PATTERN = "^[A-Za-z0-9_-]{1,64}$";

/** The content of `Authorization: Bearer <key>.<secret>`. */
export interface ProducerCredential {
  readonly keyId: string;
  readonly secret: string;
}

const credentialExpression = /^bearer +([A-Za-z0-9_-]{1,64})\.([!-~]{1,256})$/i;

/**
 * Reads `Authorization: Bearer <key>.<secret>` (RFC 6750; the scheme's case does not count, RFC 9110 11.1).
 * @returns undefined if the header has another form
 */
export function parseProducerCredential(authorization: string): ProducerCredential | undefined {
  const match = credentialExpression.exec(authorization);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { keyId: match[1], secret: match[2] };
}

/** A key id of 96 random bits. */
export function makeProducerKeyId(): string {
  return `pk_${randomBytes(12).toString("base64url")}`;
}

/** A secret of 256 random bits, as base64url. */
export function makeProducerSecret(): string {
  return randomBytes(32).toString("base64url");
}

/**
 * The stored form of a secret. A plain hash is enough because the secret is random, not chosen: guessing is hopeless.
 * @returns 64 lower-case hex characters
 */
export function hashProducerSecret(secret: string): string {
  return hash("sha256", secret, "hex");
}

/**
 * @param secret as presented
 * @param storedSha256 32 bytes each: of the secrets that are good now, at least one
 * @param compare only tests pass another
 * @returns whether it is any of them; all are compared
 */
export function producerSecretMatches(
  secret: string,
  storedSha256: readonly Buffer[],
  compare: (a: Buffer, b: Buffer) => boolean = timingSafeEqual,
): boolean {
  const presented = hash("sha256", secret, "buffer");
  let matches = false;
  for (const stored of storedSha256) if (compare(presented, stored)) matches = true;
  return matches;
}
