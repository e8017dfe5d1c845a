// Keeps secrets that must be readable again (private signing keys, the secrets of producers that sign) out of Redis in the
// clear.
// Guarantees: AES-256-GCM with a fresh random nonce each time; a text opens only with the key that it names and in the same
// context it was sealed for, so that one record's secret cannot be put into another. Of several keys the first seals, and
// each opens what it has sealed.
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { readFileSync } from "node:fs";
import { ConfigError } from "../kernel/config.js";
import { describeError } from "../kernel/errors.js";

export interface AtRestCipher {
  /**
   * @param context what the secret belongs to, such as "signing-key:<kid>"; bound to it, not kept in it
   * @returns `v1.<key name>.<nonce>.<ciphertext and tag>`, each base64url
   */
  encrypt(plaintext: string, context: string): string;
  /** @throws Error saying whether it is the key, the form or the content that does not fit */
  decrypt(sealed: string, context: string): string;
  /** By the key that new texts are sealed with, by another one that is at hand, or by one that is not. */
  sealedBy(sealed: string): SealedBy;
}

export const sealedByWhich = ["first", "further", "unknown"] as const;
export type SealedBy = (typeof sealedByWhich)[number];

const KEY_BYTES = 32;
// NIST SP 800-38D 8.2.2: random nonces of 96 bits, for at most 2^32 texts under one key.
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

const MAX_KEYS = 16;

/**
 * @param file see `parseEncryptionKeys`
 * @throws ConfigError with what is wrong, never with what the file holds
 */
export function readEncryptionKeyFile(file: string): readonly Buffer[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`KEY_ENCRYPTION_FILE cannot be read: ${describeError(error)}`);
  }
  return parseEncryptionKeys(text);
}

/**
 * @param text a key a line, 32 bytes as base64, such as made by `openssl rand -base64 32`; the first one seals. Empty lines,
 * and those that begin with #, do not count
 * @throws ConfigError with what is wrong, never with what the text holds
 */
export function parseEncryptionKeys(text: string): readonly Buffer[] {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  const keys = [...new Set(lines)].map((line) => {
    const key = Buffer.from(line, "base64");
    if (!/^[A-Za-z0-9+/]{43}=$/.test(line) || key.length !== KEY_BYTES) throw new ConfigError(FORM);
    return key;
  });
  if (keys.length === 0) throw new ConfigError(FORM);
  if (keys.length > MAX_KEYS) throw new ConfigError(`KEY_ENCRYPTION_FILE holds more than ${MAX_KEYS} keys`);
  return keys;
}

const FORM =
  "KEY_ENCRYPTION_FILE must hold 32 bytes as base64 (openssl rand -base64 32), or several such lines, and nothing else";

/** Says nothing of the key: what a sealed text, the log and the metrics call it. */
export function nameOfEncryptionKey(key: Buffer): string {
  return createHash("sha256").update("petrel key name\0").update(key).digest("base64url").slice(0, 8);
}

/** @param keys each of 32 bytes; the first one seals */
export function createAtRestCipher(...keys: readonly [Buffer, ...Buffer[]]): AtRestCipher {
  const secrets = new Map<string, KeyObject>();
  for (const key of keys) {
    if (key.length !== KEY_BYTES)
      throw new Error(`an encryption key has ${KEY_BYTES} bytes, not ${key.length}`);
    secrets.set(nameOfEncryptionKey(key), createSecretKey(key));
  }
  const firstName = nameOfEncryptionKey(keys[0]);
  const firstSecret = createSecretKey(keys[0]);
  return {
    encrypt(plaintext, context) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", firstSecret, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(context, "utf8"));
      const sealed = Buffer.concat([cipher.update(plaintext, "utf8"), cipher.final(), cipher.getAuthTag()]);
      return `v1.${firstName}.${nonce.toString("base64url")}.${sealed.toString("base64url")}`;
    },
    decrypt(sealed, context) {
      const [version, sealedBy, nonceText, bodyText, ...rest] = sealed.split(".");
      if (version !== "v1" || nonceText === undefined || bodyText === undefined || rest.length > 0) {
        throw new Error("not a text sealed by this version");
      }
      const secret = secrets.get(sealedBy ?? "");
      if (secret === undefined) {
        throw new Error(`sealed with another key (${sealedBy}, not ${[...secrets.keys()].join(" or ")})`);
      }
      const nonce = Buffer.from(nonceText, "base64url");
      const body = Buffer.from(bodyText, "base64url");
      if (nonce.length !== NONCE_BYTES || body.length < TAG_BYTES)
        throw new Error("the sealed text is cut short");
      const decipher = createDecipheriv("aes-256-gcm", secret, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(context, "utf8"));
      decipher.setAuthTag(body.subarray(body.length - TAG_BYTES));
      const opened = decipher.update(body.subarray(0, body.length - TAG_BYTES));
      try {
        return Buffer.concat([opened, decipher.final()]).toString("utf8");
      } catch (error) {
        throw new Error("the sealed text was changed, or belongs to something else", { cause: error });
      }
    },
    sealedBy(sealed) {
      const [, name = ""] = sealed.split(".", 2);
      if (name === firstName) return "first";
      return secrets.has(name) ? "further" : "unknown";
    },
  };
}
