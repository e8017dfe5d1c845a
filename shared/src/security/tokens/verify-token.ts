// Checks a user's token against keys at hand, when a socket opens and when it brings a fresh one.
// Guarantees: the issuer decides which keys apply, and the key decides the algorithm, never the token (RFC 8725 3.1,
// 3.8); an unsigned or unknown token is refused before anything is computed; nothing that a header points to or
// contains is used as a key; a token ends `clockToleranceSeconds` after its `exp` at the latest. What a cache remembers
// passes only while the same key is still its issuer's.
import type { KeyObject } from "node:crypto";
import jwt from "jsonwebtoken";
import { type Clock, systemClock } from "../../kernel/clock.js";
import { PetrelError } from "../../kernel/errors.js";
import type { TokenAlgorithm } from "./token-algorithm.js";
import {
  ACCESS_TOKEN_TYPE,
  invalidClaim,
  readForeignClaims,
  readTokenClaims,
  type VerifiedToken,
  type VerifyToken,
} from "./verified-token.js";
import { isCanonicalBase64url } from "./name-of-token.js";
import type { VerifiedTokenCache } from "./verified-token-cache.js";

export interface VerificationKey {
  readonly kid: string;
  /** HS256 for a shared secret only. */
  readonly alg: TokenAlgorithm | "HS256";
  /** Public or secret, as `alg` says. Made once: parsing a key costs many times a check. */
  readonly key: KeyObject;
}

/** @returns undefined if no such key exists; rejects with PETREL_UNAVAILABLE if that is not known now */
export type FindVerificationKey = (kid: string) => Promise<VerificationKey | undefined>;

/** Whose tokens are trusted, and what they must say. */
export interface TrustedIssuer {
  /** The `iss` claim, exactly. */
  readonly issuer: string;
  /** What the `aud` claim must name. */
  readonly audience: string;
  readonly findKey: FindVerificationKey;
  /** How long after `exp` a token still passes, to allow for clock differences. Default 5, at most 60. */
  readonly clockToleranceSeconds?: number;
  /** For tokens of another issuer than auth; without it they have auth's form. */
  readonly foreign?: {
    /** The claim with the user's id. */
    readonly userClaim: string;
    /** Allowed values of the header's `typ`, lower-case, without `application/`: RFC 9068 section 2.1 has `at+jwt`. */
    readonly headerTypes: readonly string[];
  };
}

export type TrustedTokenCache = VerifiedTokenCache<TrustedIssuer, VerificationKey>;

export interface VerifyTokenOptions {
  readonly issuers: readonly TrustedIssuer[];
  /** Without one every token is checked anew. */
  readonly cache?: TrustedTokenCache | undefined;
  readonly clock?: Clock;
}

/** Longer than any token of ours; longer ones are refused unread. */
const MAX_TOKEN_LENGTH = 16_384;
export const MAX_SKEW_SECONDS = 60;
const DEFAULT_SKEW_SECONDS = 5;
/** Ours name their kind in a claim, because business systems that sign by themselves can set claims. */
const OWN_HEADER_TYPES: readonly string[] = ["jwt", "at+jwt"];
const compactJws = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/;

/** @param options issuers with different names */
export function createVerifyToken({ issuers, cache, clock = systemClock }: VerifyTokenOptions): VerifyToken {
  const trusted = new Map(issuers.map((one) => [one.issuer, one]));

  return async (token) => {
    // Longer ones are refused unread.
    if (cache === undefined || token.length > MAX_TOKEN_LENGTH) return (await check(token)).verified;
    const digest = cache.digestOf(token);
    const known = cache.find(digest);
    if (known !== undefined) {
      // Asked each time, so that keys are refreshed, and a withdrawn or replaced key ends the tokens that it signed.
      const key = await known.issuer.findKey(known.kid);
      if (key === known.key && !isOver(known.verified, known.issuer, secondsOf(clock))) {
        cache.hits++;
        return known.verified;
      }
      cache.drop(digest);
    }
    cache.misses++;
    const { issuer, key, verified } = await check(token);
    cache.keep(digest, token.length, { issuer, kid: key.kid, key, verified });
    return verified;
  };

  async function check(token: string): Promise<Checked> {
    const { kid, alg, typ, iss } = readUnchecked(token);
    // Not trusted, only looked up: the signature must then be by a key of this very issuer.
    const issuer = trusted.get(iss);
    if (issuer === undefined) {
      throw new PetrelError("PETREL_TOKEN_INVALID", "The token's issuer is not trusted here.");
    }
    checkHeaderType(typ, issuer);
    const key = await issuer.findKey(kid);
    if (key === undefined) {
      throw new PetrelError(
        "PETREL_TOKEN_INVALID",
        "The token was signed with a key that is not known here.",
      );
    }
    if (alg !== key.alg || key.key.type !== (key.alg === "HS256" ? "secret" : "public")) {
      throw new PetrelError("PETREL_TOKEN_INVALID", `The token's algorithm is not its key's (${key.alg}).`);
    }
    const nowSeconds = secondsOf(clock);
    const claims = checkSignature(token, key, issuer, nowSeconds);
    const verified = readClaims(token, claims, issuer, key);
    if (verified.issuedAtMs / 1000 > nowSeconds + MAX_SKEW_SECONDS) {
      throw new PetrelError("PETREL_TOKEN_INVALID", "The token is from the future: check the clocks.");
    }
    return { issuer, key, verified };
  }
}

interface Checked {
  readonly issuer: TrustedIssuer;
  readonly key: VerificationKey;
  readonly verified: VerifiedToken;
}

function secondsOf(clock: Clock): number {
  return Math.floor(clock.wallMs() / 1000);
}

/** By the same rule as the token check: `exp` may be a fraction. */
function isOver({ expiresAtMs }: VerifiedToken, issuer: TrustedIssuer, nowSeconds: number): boolean {
  return nowSeconds >= expiresAtMs / 1000 + toleranceOf(issuer);
}

function toleranceOf({ clockToleranceSeconds = DEFAULT_SKEW_SECONDS }: TrustedIssuer): number {
  return Math.min(clockToleranceSeconds, MAX_SKEW_SECONDS);
}

interface Unchecked {
  readonly kid: string;
  readonly alg: string;
  readonly typ: unknown;
  readonly iss: string;
}

/** What must be known before the signature can be checked. */
function readUnchecked(token: string): Unchecked {
  const match = token.length > MAX_TOKEN_LENGTH ? null : compactJws.exec(token);
  if (match?.[1] === undefined || match[2] === undefined || match[3] === undefined) {
    throw new PetrelError("PETREL_TOKEN_INVALID", "The token is not a signed JWT in compact form.");
  }
  if (!isCanonicalBase64url(match[3])) {
    throw new PetrelError("PETREL_TOKEN_INVALID", "The token's signature is not canonical base64url.");
  }
  const { kid, alg, typ, crit } = readPart(match[1], "header");
  // RFC 7515 4.1.11: an extension marked critical but not understood makes the token invalid; we understand none.
  if (crit !== undefined) throw new PetrelError("PETREL_TOKEN_INVALID", 'The token\'s header has "crit".');
  if (typeof kid !== "string" || kid === "" || kid.length > 128) {
    throw new PetrelError("PETREL_TOKEN_INVALID", 'The token\'s header lacks "kid".');
  }
  if (typeof alg !== "string")
    throw new PetrelError("PETREL_TOKEN_INVALID", 'The token\'s header lacks "alg".');
  const { iss } = readPart(match[2], "claims");
  if (typeof iss !== "string") throw invalidClaim("iss");
  return { kid, alg, typ, iss };
}

function readPart(base64url: string, what: "header" | "claims"): Readonly<Record<string, unknown>> {
  let part: unknown;
  try {
    part = JSON.parse(Buffer.from(base64url, "base64url").toString("utf8"));
  } catch (error) {
    throw new PetrelError("PETREL_TOKEN_INVALID", `The token's ${what} cannot be read as JSON.`, {
      cause: error,
    });
  }
  if (typeof part !== "object" || part === null || Array.isArray(part)) {
    throw new PetrelError("PETREL_TOKEN_INVALID", `The token's ${what} must be a JSON object.`);
  }
  return part as Readonly<Record<string, unknown>>;
}

/** RFC 8725 3.11: a trusted issuer's token for another purpose is no access token. */
function checkHeaderType(typ: unknown, { foreign }: TrustedIssuer): void {
  if (typ === undefined && foreign === undefined) return;
  const allowed = foreign?.headerTypes ?? OWN_HEADER_TYPES;
  // RFC 7515 4.1.9: letter case and a leading "application/" do not count.
  const type = typeof typ === "string" ? typ.toLowerCase().replace(/^application\//, "") : "";
  if (!allowed.includes(type)) {
    throw new PetrelError(
      "PETREL_TOKEN_INVALID",
      'The token\'s header has another "typ" than an access token.',
    );
  }
}

function checkSignature(
  token: string,
  { alg, key }: VerificationKey,
  trusted: TrustedIssuer,
  nowSeconds: number,
): jwt.JwtPayload {
  let claims: string | jwt.JwtPayload;
  try {
    claims = jwt.verify(token, key, {
      algorithms: [alg],
      issuer: trusted.issuer,
      audience: trusted.audience,
      clockTolerance: toleranceOf(trusted),
      clockTimestamp: nowSeconds,
    });
  } catch (error) {
    if (error instanceof jwt.TokenExpiredError) {
      throw new PetrelError("PETREL_TOKEN_EXPIRED", "The token has expired: get a fresh one.", {
        cause: error,
      });
    }
    const reason = error instanceof jwt.JsonWebTokenError ? error.message : "it cannot be read";
    throw new PetrelError("PETREL_TOKEN_INVALID", `The token is not valid: ${reason}.`, { cause: error });
  }
  if (typeof claims === "string") {
    throw new PetrelError("PETREL_TOKEN_INVALID", "The token's claims are not an object.");
  }
  return claims;
}

function readClaims(
  token: string,
  claims: jwt.JwtPayload,
  { issuer, foreign }: TrustedIssuer,
  { alg }: VerificationKey,
): VerifiedToken {
  if (foreign !== undefined) {
    const verified = readForeignClaims(claims, { token, userClaim: foreign.userClaim, hasDevice: false });
    return Object.freeze({ ...verified, issuer });
  }
  if (claims["typ"] !== ACCESS_TOKEN_TYPE) throw invalidClaim("typ");
  // A signer with the shared secret knows neither generations nor our sessions.
  return alg === "HS256"
    ? readForeignClaims(claims, { token, userClaim: "sub", hasDevice: true })
    : readTokenClaims(claims);
}
