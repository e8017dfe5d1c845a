// auth's route web-push-key, dispatch/channels/web -> here: the key that identifies this server to push services.
// Guarantees: P-256, or the start fails with a line that says so; nothing here shows the private half.
import { createPublicKey, createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { ConfigError } from "../../kernel/config.js";
import { describeError } from "../../kernel/errors.js";

/** @returns the public half as pages need it, `applicationServerKey`: 65 bytes as base64url */
export function encodeVapidKey(key: KeyObject): string {
  const { x = "", y = "" } = key.export({ format: "jwk" });
  return Buffer.concat([Buffer.from([4]), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]).toString(
    "base64url",
  );
}

/**
 * @param file PEM; of the private or of the public key
 * @throws ConfigError
 */
export function readVapidPublicKey(file: string): KeyObject {
  return readKey(file, (pem) => createPublicKey(pem));
}

/** @throws ConfigError */
export function readVapidPrivateKey(file: string): KeyObject {
  return readKey(file, (pem) => createPrivateKey(pem));
}

/** @returns a new private key as PEM, PKCS #8 */
export function makeVapidKey(): string {
  return generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  }).privateKey;
}

function readKey(file: string, parse: (pem: string) => KeyObject): KeyObject {
  let pem: string;
  try {
    pem = readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`VAPID_KEY_FILE cannot be read: ${describeError(error)}`);
  }
  let key: KeyObject | undefined;
  try {
    key = parse(pem);
  } catch {
    // OpenSSL's own message would not help.
  }
  if (key?.asymmetricKeyDetails?.namedCurve !== "prime256v1") {
    throw new ConfigError(
      "VAPID_KEY_FILE must hold an EC key on P-256 as PEM, for dispatch the private one: `petrel web-push-key` makes one",
    );
  }
  return key;
}
