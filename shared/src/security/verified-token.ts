// What a user's token says once it has been checked, and how its claims are read.
// Guarantees: every required claim is there and has its form; whoever holds a VerifiedToken need not look again.
import { PetrelError } from "../kernel/errors.js";
import { isUserId } from "../protocol/ids.js";

/** The value of our `typ` claim: a token of another kind is never taken for an access token (RFC 8725 3.11). */
export const ACCESS_TOKEN_TYPE = "access";

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
  readonly jti: string;
  /** When it was made, milliseconds since 1970 UTC. */
  readonly issuedAtMs: number;
  /** When it ends, milliseconds since 1970 UTC. */
  readonly expiresAtMs: number;
  /** The user's token generation when it was made: below the current one, it is revoked. */
  readonly generation: number;
  readonly device?: TokenDevice;
  readonly topics?: readonly string[];
}

/**
 * Checks a token's signature, issuer, audience, kind and time.
 * Rejects with PetrelError PETREL_TOKEN_INVALID, PETREL_TOKEN_EXPIRED, or PETREL_UNAVAILABLE where the check
 * itself is not possible now.
 */
export type VerifyToken = (token: string) => Promise<VerifiedToken>;

const MAX_TOPICS = 1_000;
const deviceIdExpression = new RegExp(DEVICE_ID_PATTERN);
const platformExpression = new RegExp(DEVICE_PLATFORM_PATTERN);

/**
 * Reads the claims `sub jti iat exp gen` and the optional `device` and `topics`; who calls has checked the rest.
 * @param claims of a token whose signature is good, or of an introspection's answer
 * @throws PetrelError PETREL_TOKEN_INVALID naming the claim that is wrong
 */
export function readTokenClaims(claims: Readonly<Record<string, unknown>>): VerifiedToken {
  const { sub, jti, iat, exp, gen, device, topics } = claims;
  if (typeof sub !== "string" || !isUserId(sub)) throw invalidClaim("sub");
  if (typeof jti !== "string" || jti === "" || jti.length > 128) throw invalidClaim("jti");
  if (typeof iat !== "number" || !Number.isFinite(iat)) throw invalidClaim("iat");
  if (typeof exp !== "number" || !Number.isFinite(exp)) throw invalidClaim("exp");
  if (typeof gen !== "number" || !Number.isSafeInteger(gen) || gen < 0) throw invalidClaim("gen");
  return Object.freeze({
    userId: sub,
    jti,
    issuedAtMs: iat * 1000,
    expiresAtMs: exp * 1000,
    generation: gen,
    ...(device === undefined ? {} : { device: readDevice(device) }),
    ...(topics === undefined ? {} : { topics: readTopics(topics) }),
  });
}

function readDevice(device: unknown): TokenDevice {
  if (typeof device !== "object" || device === null) throw invalidClaim("device");
  const { id, platform } = device as Readonly<Record<string, unknown>>;
  if (typeof id !== "string" || !deviceIdExpression.test(id)) throw invalidClaim("device.id");
  if (typeof platform !== "string" || !platformExpression.test(platform))
    throw invalidClaim("device.platform");
  return Object.freeze({ id, platform });
}

function readTopics(topics: unknown): readonly string[] {
  if (!Array.isArray(topics) || topics.length > MAX_TOPICS) throw invalidClaim("topics");
  const names: unknown[] = topics;
  if (!names.every((name) => typeof name === "string")) throw invalidClaim("topics");
  return Object.freeze([...names]);
}

export function invalidClaim(claim: string): PetrelError {
  return new PetrelError("PETREL_TOKEN_INVALID", `The token's claim "${claim}" is missing or wrong.`);
}
