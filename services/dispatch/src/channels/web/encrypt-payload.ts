// send-to-browser -> here: a push message's body, which only the browser can read (RFC 8291, RFC 8188).
// Guarantees: a fresh key pair and salt for each message; one record, so no more than MAX_PLAINTEXT bytes.
// Uses only node:crypto: the package `web-push` brings five dependencies and has had no release since January 2024.
import { createCipheriv, createECDH, hkdfSync, randomBytes } from "node:crypto";

/** Push services accept bodies of at least 4,096 bytes (RFC 8030 7.2); header, delimiter and tag take 103 of them. */
export const MAX_BODY = 4_096;
const SALT_BYTES = 16;
const TAG_BYTES = 16;
const HEADER_BYTES = SALT_BYTES + 4 + 1 + 65;
export const MAX_PLAINTEXT = MAX_BODY - HEADER_BYTES - 1 - TAG_BYTES;

/** Delimiter of the last record, RFC 8188 section 2. */
const LAST = Buffer.from([2]);
const KEY_INFO = Buffer.from("WebPush: info\0");
const CEK_INFO = Buffer.from("Content-Encoding: aes128gcm\0");
const NONCE_INFO = Buffer.from("Content-Encoding: nonce\0");

export interface BrowserKeys {
  /** base64url */
  readonly p256dh: string;
  readonly auth: string;
}

/** The random parts of a message; passed in only to test the RFC's own example. */
export interface EncryptionSeed {
  /** A private key on P-256. */
  readonly privateKey: Buffer;
  readonly salt: Buffer;
}

/** @throws if `p256dh` is not a point of the curve, or the text is too long */
export function encryptPayload(text: Buffer, { p256dh, auth }: BrowserKeys, seed?: EncryptionSeed): Buffer {
  if (text.length > MAX_PLAINTEXT) throw new RangeError(`more than ${MAX_PLAINTEXT} bytes`);
  const browserKey = Buffer.from(p256dh, "base64url");
  const salt = seed?.salt ?? randomBytes(SALT_BYTES);
  const ours = createECDH("prime256v1");
  if (seed === undefined) ours.generateKeys();
  else ours.setPrivateKey(seed.privateKey);
  const ourKey = ours.getPublicKey();
  const secret = ours.computeSecret(browserKey);
  const derive = (ikm: Buffer, saltOf: Buffer, info: Buffer, bytes: number): Buffer =>
    Buffer.from(hkdfSync("sha256", ikm, saltOf, info, bytes));
  const keyInfo = Buffer.concat([KEY_INFO, browserKey, ourKey]);
  const ikm = derive(secret, Buffer.from(auth, "base64url"), keyInfo, 32);
  const cipher = createCipheriv(
    "aes-128-gcm",
    derive(ikm, salt, CEK_INFO, 16),
    derive(ikm, salt, NONCE_INFO, 12),
  );
  const head = Buffer.alloc(5);
  head.writeUInt32BE(MAX_BODY, 0);
  head.writeUInt8(ourKey.length, 4);
  return Buffer.concat([
    salt,
    head,
    ourKey,
    cipher.update(text),
    cipher.update(LAST),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
}
