// Encrypts secrets that must be readable again (private signing keys, the secrets of producers that sign) before Redis
// stores them.
// Guarantees: AES-256-GCM with a fresh random nonce each time. A text opens only with the key that it names and in the
// context it was sealed for, so one record's secret cannot be moved into another. Of several keys the first seals; each
// opens what it has sealed.
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
   * @param context what the secret belongs to, such as "signing-key:<kid>"; authenticated, not stored in the text
   * @returns `v1.<key name>.<nonce>.<ciphertext and tag>`, each base64url
   */
  encrypt(plaintext: string, context: string): string;
  /** @throws Error that says whether the key, the form or the content does not fit */
  decrypt(sealed: string, context: string): string;
  /** Sealed by the current sealing key, by another known key, or by an unknown one. */
  sealedBy(sealed: string): SealedBy;
}

export const sealedByWhich = ["first", "further", "unknown"] as const;
export type SealedBy = (typeof sealedByWhich)[number];

const KEY_BYTES = 32;
// NIST SP 800-38D 8.2.2: random 96-bit nonces, for at most 2^32 texts under one key.
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

const MAX_KEYS = 16;

/**
 * @param file see `parseEncryptionKeys`
 * @throws ConfigError that says what is wrong, never what the file holds
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
 * @param text one key per line, 32 bytes as base64 (`openssl rand -base64 32`); the first one seals. Empty lines and
 * lines that begin with # do not count
 * @throws ConfigError that says what is wrong, never what the text holds
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

/** Reveals nothing about the key; sealed texts, the log and the metrics use this name. */
export function nameOfEncryptionKey(key: Buffer): string {
  return createHash("sha256").update("petrel key name\0").update(key).digest("base64url").slice(0, 8);
}

/** @param keys 32 bytes each; the first one seals */
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
