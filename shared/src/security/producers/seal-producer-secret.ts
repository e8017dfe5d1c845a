// auth seals the secret of a key that may sign, collect and dispatch open it: between producer-keys-store and here.
// Guarantees: a sealed secret opens only for the key and the hash it was sealed for, and with a key of
// KEY_ENCRYPTION_FILE that has sealed it.
import type { AtRestCipher } from "../encrypt-at-rest.js";
import { hashProducerSecret } from "./producer-keys.js";

/** @returns what may be stored: AES-256-GCM, bound to the key and to the secret's hash */
export function sealProducerSecret(cipher: AtRestCipher, keyId: string, secret: string): string {
  return cipher.encrypt(secret, contextOf(keyId, hashProducerSecret(secret)));
}

/** @throws Error where it was sealed with another key, for something else, or changed */
export function openProducerSecret(
  cipher: AtRestCipher,
  { keyId, sealed, secretSha256 }: SealedProducerSecret,
): string {
  return cipher.decrypt(sealed, contextOf(keyId, secretSha256));
}

/** The same, sealed with the first key that there is now. @throws as `openProducerSecret` */
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
