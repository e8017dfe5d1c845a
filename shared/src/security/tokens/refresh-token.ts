// auth/create-token, auth/refresh-token -> here -> redis/sessions-store: what a refresh token looks like, and which follows.
// Guarantees: only auth can make one, so that an invented one ends nobody's session; each has one successor, made from it
// alone, so that every process answers the same one without having stored it.
//
// A token is `pr1.<user>.<session>.<number>.<secret and seal>`. The first secret of a session is random; each further one
// is an HMAC of the one before it. What is stored is a hash of the current and of the previous one: who reads Redis cannot
// use them, who has the key of KEY_ENCRYPTION_FILE but no token cannot make one that is taken, and of a spent token
// without that key nothing follows.
import { createHmac, hash, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { isUserId } from "../../protocol/messages/ids.js";

export interface RefreshToken {
  readonly userId: string;
  readonly sessionId: string;
  /** How many came before it in its session. */
  readonly number: number;
  readonly text: string;
  /** SHA-256 of the text, base64url: what may be stored. */
  readonly hash: string;
}

export interface RefreshTokens {
  /** The first one of a new session. */
  open(userId: string): RefreshToken;
  /** @returns undefined for what was not made with this key */
  read(text: string): RefreshToken | undefined;
  /** The one that follows; the same one each time. */
  successorOf(token: RefreshToken): RefreshToken;
}

const SECRET_BYTES = 32;
const SEAL_BYTES = 16;
const SESSION_ID_BYTES = 16;
const MAX_LENGTH = 512;
const FORM = /^pr1\.([A-Za-z0-9_-]{1,171})\.([A-Za-z0-9_-]{22})\.(0|[1-9]\d{0,8})\.([A-Za-z0-9_-]{64})$/;

/** @param encryptionKey of KEY_ENCRYPTION_FILE: another key makes all refresh tokens unknown */
export function createRefreshTokens(encryptionKey: Buffer): RefreshTokens {
  const derive = (purpose: string): Buffer =>
    Buffer.from(hkdfSync("sha256", encryptionKey, "", `petrel refresh token ${purpose} v1`, 32));
  const [sealKey, successorKey] = [derive("seal"), derive("successor")];

  const sealOf = (head: string, secret: Buffer): Buffer =>
    createHmac("sha256", sealKey).update(`${head}.`).update(secret).digest().subarray(0, SEAL_BYTES);

  const make = (userId: string, sessionId: string, number: number, secret: Buffer): RefreshToken => {
    const head = headOf(userId, sessionId, number);
    const text = `${head}.${Buffer.concat([secret, sealOf(head, secret)]).toString("base64url")}`;
    return { userId, sessionId, number, text, hash: hash("sha256", text, "base64url") };
  };

  return {
    open: (userId) =>
      make(userId, randomBytes(SESSION_ID_BYTES).toString("base64url"), 0, randomBytes(SECRET_BYTES)),
    read(text) {
      const match = text.length > MAX_LENGTH ? null : FORM.exec(text);
      if (match === null) return undefined;
      const [, user = "", sessionId = "", number = "", body = ""] = match;
      const userId = Buffer.from(user, "base64url").toString("latin1");
      if (!isUserId(userId)) return undefined;
      const bytes = Buffer.from(body, "base64url");
      const secret = bytes.subarray(0, SECRET_BYTES);
      const head = headOf(userId, sessionId, Number(number));
      if (!timingSafeEqual(bytes.subarray(SECRET_BYTES), sealOf(head, secret))) return undefined;
      const token = make(userId, sessionId, Number(number), secret);
      // base64url has several spellings of some bytes: only the one that was given out is a token.
      return token.text === text ? token : undefined;
    },
    successorOf: ({ userId, sessionId, number, text }) =>
      make(userId, sessionId, number + 1, createHmac("sha256", successorKey).update(text).digest()),
  };
}

/** User ids are ASCII. */
function headOf(userId: string, sessionId: string, number: number): string {
  return `pr1.${Buffer.from(userId, "latin1").toString("base64url")}.${sessionId}.${number}`;
}
