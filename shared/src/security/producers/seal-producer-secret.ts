// Between producer-keys-store and the services: auth seals the secret of a key that may sign, collect and dispatch open
// it.
// Guarantees: a sealed secret opens only for the key and the hash it was sealed for, and only with the key of
// KEY_ENCRYPTION_FILE that sealed it.
import type { AtRestCipher } from "../encrypt-at-rest.js";
import { hashProducerSecret } from "./producer-keys.js";

/** @returns the form to store: AES-256-GCM, bound to the key and to the secret's hash */
export function sealProducerSecret(cipher: AtRestCipher, keyId: string, secret: string): string {
  return cipher.encrypt(secret, contextOf(keyId, hashProducerSecret(secret)));
}

/** @throws Error if it was changed, or sealed with another key or for something else */
export function openProducerSecret(
  cipher: AtRestCipher,
  { keyId, sealed, secretSha256 }: SealedProducerSecret,
): string {
  return cipher.decrypt(sealed, contextOf(keyId, secretSha256));
}

/** Seals it again with the current first key. @throws as `openProducerSecret` */
export function resealProducerSecret(
  cipher: AtRestCipher,
  { keyId, sealed, secretSha256 }: SealedProducerSecret,
): string {
  const context = contextOf(keyId, secretSha256);
  return cipher.encrypt(cipher.decrypt(sealed, context), context);
}

export interface SealedProducerSecret {
  readonly keyId: string;
  readonly sealed: string;
  /** 64 hex characters. */
  readonly secretSha256: string;
}

function contextOf(keyId: string, secretSha256: string): string {
  return `producer-key:${keyId}:${secretSha256}`;
}
