// auth/create-token, auth/refresh-token -> here -> redis/sessions-store: the form of a refresh token, and its
// successor.
// Guarantees: only auth can make one, so that an invented one ends nobody's session. Each has one successor per key,
// made from it alone, so that every process returns the same one without having stored it.
//
// A token is `pr1.<user>.<session>.<number>.<secret and seal>`. The first secret of a session is random; each later one
// is an HMAC of the one before. Redis stores a hash of the current and of the previous one. A reader of Redis cannot
// use them. The key of KEY_ENCRYPTION_FILE makes no valid token without a token, and a spent token yields no successor
// without that key.
import { createHmac, hash, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { isUserId } from "../../protocol/messages/ids.js";

export interface RefreshToken {
  readonly userId: string;
  readonly sessionId: string;
  /** Its position in its session, from 0. */
  readonly number: number;
  readonly text: string;
  /** SHA-256 of the text, base64url: the form to store. */
  readonly hash: string;
}

export interface RefreshTokens {
  /** The first one of a new session. */
  open(userId: string): RefreshToken;
  /** @returns undefined if it was made with none of the keys */
  read(text: string): RefreshToken | undefined;
  /**
   * The successor under each key. The first is what a process with the keys in this order makes, the same one each
   * time. While keys rotate, a process with another order may have made another one.
   */
  successorsOf(token: RefreshToken): readonly [RefreshToken, ...RefreshToken[]];
}

const SECRET_BYTES = 32;
const SEAL_BYTES = 16;
const SESSION_ID_BYTES = 16;
const MAX_LENGTH = 512;
const FORM = /^pr1\.([A-Za-z0-9_-]{1,171})\.([A-Za-z0-9_-]{22})\.(0|[1-9]\d{0,8})\.([A-Za-z0-9_-]{64})$/;

/**
 * @param readKeys the current keys of KEY_ENCRYPTION_FILE: the first makes new tokens; a token is void without its key
 */
export function createRefreshTokens(readKeys: () => readonly Buffer[]): RefreshTokens {
  const makers = new Map<string, TokenMaker>();
  const makersNow = (): readonly [TokenMaker, ...TokenMaker[]] => {
    const [first, ...further] = readKeys().map((key) => {
      const name = key.toString("base64");
      const maker = makers.get(name) ?? createMaker(key);
      makers.set(name, maker);
      return maker;
    });
    if (first === undefined) throw new Error("there is no encryption key");
    return [first, ...further];
  };
  return {
    open: (userId) => {
      const [{ make }] = makersNow();
      return make(userId, randomBytes(SESSION_ID_BYTES).toString("base64url"), 0, randomBytes(SECRET_BYTES));
    },
    read(text) {
      const match = text.length > MAX_LENGTH ? null : FORM.exec(text);
      if (match === null) return undefined;
      const [, user = "", sessionId = "", number = "", body = ""] = match;
      const userId = Buffer.from(user, "base64url").toString("latin1");
      if (!isUserId(userId)) return undefined;
      const bytes = Buffer.from(body, "base64url");
      const secret = bytes.subarray(0, SECRET_BYTES);
      const seal = bytes.subarray(SECRET_BYTES);
      const head = headOf(userId, sessionId, Number(number));
      const maker = makersNow().find(({ sealOf }) => timingSafeEqual(seal, sealOf(head, secret)));
      if (maker === undefined) return undefined;
      const token = maker.make(userId, sessionId, Number(number), secret);
      // base64url has several spellings of some bytes: only the issued one is a token.
      return token.text === text ? token : undefined;
    },
    successorsOf(token) {
      const [first, ...further] = makersNow();
      return [first.follow(token), ...further.map(({ follow }) => follow(token))];
    },
  };
}

/** What one key makes. */
interface TokenMaker {
  readonly sealOf: (head: string, secret: Buffer) => Buffer;
  readonly make: (userId: string, sessionId: string, number: number, secret: Buffer) => RefreshToken;
  readonly follow: (token: RefreshToken) => RefreshToken;
}

function createMaker(encryptionKey: Buffer): TokenMaker {
  const derive = (purpose: string): Buffer =>
    Buffer.from(hkdfSync("sha256", encryptionKey, "", `petrel refresh token ${purpose} v1`, 32));
  const [sealKey, successorKey] = [derive("seal"), derive("successor")];
  const sealOf: TokenMaker["sealOf"] = (head, secret) =>
    createHmac("sha256", sealKey).update(`${head}.`).update(secret).digest().subarray(0, SEAL_BYTES);
  const make: TokenMaker["make"] = (userId, sessionId, number, secret) => {
    const head = headOf(userId, sessionId, number);
    const text = `${head}.${Buffer.concat([secret, sealOf(head, secret)]).toString("base64url")}`;
    return { userId, sessionId, number, text, hash: hash("sha256", text, "base64url") };
  };
  return {
    sealOf,
    make,
    follow: ({ userId, sessionId, number, text }) =>
      make(userId, sessionId, number + 1, createHmac("sha256", successorKey).update(text).digest()),
  };
}

/** User ids are ASCII. */
function headOf(userId: string, sessionId: string, number: number): string {
  return `pr1.${Buffer.from(userId, "latin1").toString("base64url")}.${sessionId}.${number}`;
}
