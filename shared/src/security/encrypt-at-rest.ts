// Keeps secrets that must be readable again (private signing keys) out of Redis in the clear.
// Guarantees: AES-256-GCM with a fresh random nonce each time; a text opens only with the same key and in the same
// context it was sealed for, so that one record's secret cannot be put into another.
import { createCipheriv, createDecipheriv, createHash, createSecretKey, randomBytes } from "node:crypto";
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
}

const KEY_BYTES = 32;
// NIST SP 800-38D 8.2.2: random nonces of 96 bits, for at most 2^32 texts under one key.
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * @param file holds 32 bytes as base64, such as made by `openssl rand -base64 32`
 * @throws ConfigError with what is wrong, never with what the file holds
 */
export function readEncryptionKeyFile(file: string): Buffer {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new ConfigError(`KEY_ENCRYPTION_FILE cannot be read: ${describeError(error)}`);
  }
  const key = Buffer.from(text, "base64");
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text) || key.length !== KEY_BYTES) {
    throw new ConfigError("KEY_ENCRYPTION_FILE must hold 32 bytes as base64 (openssl rand -base64 32)");
  }
  return key;
}

/** @param key 32 bytes */
export function createAtRestCipher(key: Buffer): AtRestCipher {
  if (key.length !== KEY_BYTES)
    throw new Error(`an encryption key has ${KEY_BYTES} bytes, not ${key.length}`);
  const secret = createSecretKey(key);
  const keyName = createHash("sha256")
    .update("petrel key name\0")
    .update(key)
    .digest("base64url")
    .slice(0, 8);
  return {
    encrypt(plaintext, context) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", secret, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(context, "utf8"));
      const sealed = Buffer.concat([cipher.update(plaintext, "utf8"), cipher.final(), cipher.getAuthTag()]);
      return `v1.${keyName}.${nonce.toString("base64url")}.${sealed.toString("base64url")}`;
    },
    decrypt(sealed, context) {
      const [version, sealedBy, nonceText, bodyText, ...rest] = sealed.split(".");
      if (version !== "v1" || nonceText === undefined || bodyText === undefined || rest.length > 0) {
        throw new Error("not a text sealed by this version");
      }
      if (sealedBy !== keyName) throw new Error(`sealed with another key (${sealedBy}, not ${keyName})`);
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
  };
}
