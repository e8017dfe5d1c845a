// The claims of a user's token once it has been checked, and how they are read.
// Guarantees: every required claim is there and well-formed, so nobody needs to check a VerifiedToken again.
import { PetrelError } from "../../kernel/errors.js";
import { isUserId } from "../../protocol/messages/ids.js";
import { readTopicGrants, type TopicGrant } from "../../protocol/topics/topic-grants.js";
import { formerNamesOf, nameOfToken } from "./name-of-token.js";

/** The value of our `typ` claim: a token of another kind never passes for an access token (RFC 8725 3.11). */
export const ACCESS_TOKEN_TYPE = "access";

/** A `sid` claim: a session's id. */
export const SESSION_ID_PATTERN = "^[A-Za-z0-9_-]{1,64}$";
/** A `jti` claim: printable, without a space, so that it may stand in a line of words. */
export const TOKEN_ID_PATTERN = "^[!-~]{1,128}$";
export const DEVICE_ID_PATTERN = "^[A-Za-z0-9._:@|~+=-]{1,128}$";
export const DEVICE_PLATFORM_PATTERN = "^[A-Za-z0-9._-]{1,32}$";

export interface TokenDevice {
  readonly id: string;
  /** Such as "web" or "ios". */
  readonly platform: string;
}

export interface VerifiedToken {
  /** The `sub` claim: a valid user id. */
  readonly userId: string;
  /** If the token has none: a name made from the signed text. */
  readonly jti: string;
  /** What the last release calls a token without a `jti`, and may have revoked it under. */
  readonly formerNames?: readonly string[];
  /** When it was made, milliseconds since 1970 UTC. */
  readonly issuedAtMs: number;
  /** When it ends, milliseconds since 1970 UTC. */
  readonly expiresAtMs: number;
  /** The user's token generation when it was made; below the current one, it is revoked. */
  readonly generation: number;
  /**
   * The `sid` claim: the sign-in it was made for. Absent on a token from elsewhere, which knows no sessions of ours.
   */
  readonly sessionId?: string;
  /** The `iss` claim, if it is not ours. */
  readonly issuer?: string;
  readonly device?: TokenDevice;
  /** What it allows with topics; absent: nothing. */
  readonly topics?: readonly TopicGrant[];
}

/**
 * Checks a token's signature, issuer, audience, kind and time. Rejects with PetrelError PETREL_TOKEN_INVALID,
 * PETREL_TOKEN_EXPIRED, or PETREL_UNAVAILABLE if the check itself is not possible now. If another service is asked, it
 * gets the id of the request that brought the token.
 */
export type VerifyToken = (token: string, requestId?: string) => Promise<VerifiedToken>;

/** The longest lifetime of a token that auth has not made. */
export const MAX_FOREIGN_LIFE_SECONDS = 366 * 24 * 60 * 60;
const sessionIdExpression = new RegExp(SESSION_ID_PATTERN);
const tokenIdExpression = new RegExp(TOKEN_ID_PATTERN);
const deviceIdExpression = new RegExp(DEVICE_ID_PATTERN);
const platformExpression = new RegExp(DEVICE_PLATFORM_PATTERN);

/**
 * Reads the claims `sub jti iat exp gen` and the optional `sid`, `device` and `topics`; the caller has checked the
 * rest.
 * @param claims of a token whose signature is good, or of an introspection's answer
 * @throws PetrelError PETREL_TOKEN_INVALID naming the claim that is wrong
 */
export function readTokenClaims(claims: Readonly<Record<string, unknown>>): VerifiedToken {
  const { sub, jti, iat, exp, gen, sid, device, topics } = claims;
  if (typeof sub !== "string" || !isUserId(sub)) throw invalidClaim("sub");
  if (!isTokenId(jti)) throw invalidClaim("jti");
  if (typeof iat !== "number" || !Number.isFinite(iat)) throw invalidClaim("iat");
  if (typeof exp !== "number" || !Number.isFinite(exp)) throw invalidClaim("exp");
  if (typeof gen !== "number" || !Number.isSafeInteger(gen) || gen < 0) throw invalidClaim("gen");
  if (sid !== undefined && (typeof sid !== "string" || !sessionIdExpression.test(sid)))
    throw invalidClaim("sid");
  return Object.freeze({
    userId: sub,
    jti,
    issuedAtMs: iat * 1000,
    expiresAtMs: exp * 1000,
    generation: gen,
    ...(sid === undefined ? {} : { sessionId: sid }),
    ...(device === undefined ? {} : { device: readDevice(device) }),
    ...(topics === undefined ? {} : { topics: readTopics(topics) }),
  });
}

interface ForeignForm {
  /** The whole token, as it came. */
  readonly token: string;
  readonly userClaim: string;
  readonly hasDevice: boolean;
}

/**
 * Reads the claims of a token that auth has not made. It knows neither generations nor our sessions: its user's tokens
 * are revoked by time. Without a `jti` it gets a name made from the signed text, by which it can be revoked.
 * @param how `userClaim`: the claim with the user's id; `hasDevice`: whether `device` is a claim of our form
 * @throws PetrelError PETREL_TOKEN_INVALID naming the claim that is wrong
 */
export function readForeignClaims(
  claims: Readonly<Record<string, unknown>>,
  { token, userClaim, hasDevice }: ForeignForm,
): VerifiedToken {
  const { jti, iat, exp } = claims;
  const sub = claims[userClaim];
  if (typeof sub !== "string" || !isUserId(sub)) throw invalidClaim(userClaim);
  if (typeof iat !== "number" || !Number.isFinite(iat) || iat < 0) throw invalidClaim("iat");
  if (typeof exp !== "number" || !Number.isFinite(exp)) throw invalidClaim("exp");
  // A revocation is remembered for this long.
  if (exp - iat > MAX_FOREIGN_LIFE_SECONDS) throw invalidClaim("exp");
  return Object.freeze({
    userId: sub,
    ...(isTokenId(jti) ? { jti } : { jti: nameOfToken(token), formerNames: formerNamesOf(token) }),
    issuedAtMs: iat * 1000,
    expiresAtMs: exp * 1000,
    generation: Math.floor(iat * 1000),
    ...(hasDevice && claims["device"] !== undefined ? { device: readDevice(claims["device"]) } : {}),
  });
}

function isTokenId(jti: unknown): jti is string {
  return typeof jti === "string" && tokenIdExpression.test(jti);
}

function readDevice(device: unknown): TokenDevice {
  if (typeof device !== "object" || device === null) throw invalidClaim("device");
  const { id, platform } = device as Readonly<Record<string, unknown>>;
  if (typeof id !== "string" || !deviceIdExpression.test(id)) throw invalidClaim("device.id");
  if (typeof platform !== "string" || !platformExpression.test(platform))
    throw invalidClaim("device.platform");
  return Object.freeze({ id, platform });
}

function readTopics(topics: unknown): readonly TopicGrant[] {
  const read = readTopicGrants(topics);
  if (!read.ok) throw invalidClaim("topics");
  return read.grants;
}

export function invalidClaim(claim: string): PetrelError {
  return new PetrelError("PETREL_TOKEN_INVALID", `The token's claim "${claim}" is missing or wrong.`);
}
