// Checks a user's token against public keys at hand, when a socket opens and when it brings a fresh one.
// Guarantees: the key decides the algorithm, never the token (RFC 8725 3.1); unsigned, symmetric and unknown ones are
// refused before anything is computed; a token is over `clockToleranceSeconds` after its `exp` at the latest.
import type { KeyObject } from "node:crypto";
import jwt from "jsonwebtoken";
import { type Clock, systemClock } from "../kernel/clock.js";
import { PetrelError } from "../kernel/errors.js";
import {
  ACCESS_TOKEN_TYPE,
  invalidClaim,
  readTokenClaims,
  type VerifiedToken,
  type VerifyToken,
} from "./verified-token.js";

export type TokenAlgorithm = "ES256" | "RS256";

export interface VerificationKey {
  readonly kid: string;
  readonly alg: TokenAlgorithm;
  /** Made once: parsing a key costs many times a check. */
  readonly publicKey: KeyObject;
}

export interface VerifyTokenOptions {
  readonly issuer: string;
  readonly audience: string;
  /** @returns undefined where no such key exists; rejects with PETREL_UNAVAILABLE where that is not known now */
  readonly findKey: (kid: string) => Promise<VerificationKey | undefined>;
  /** How long after `exp` a token still passes, for clocks that differ. Default 5, at most 60. */
  readonly clockToleranceSeconds?: number;
  readonly clock?: Clock;
}

/** Longer than any token of ours; longer ones are refused unread. */
const MAX_TOKEN_LENGTH = 16_384;
const MAX_SKEW_SECONDS = 60;
const compactJws = /^([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

export function createVerifyToken(options: VerifyTokenOptions): VerifyToken {
  const { issuer, audience, findKey, clock = systemClock } = options;
  const clockTolerance = Math.min(options.clockToleranceSeconds ?? 5, MAX_SKEW_SECONDS);

  return async (token) => {
    const { kid, alg } = readHeader(token);
    const key = await findKey(kid);
    if (key === undefined) {
      throw new PetrelError("PETREL_TOKEN_INVALID", "The token is signed by a key that is not known here.");
    }
    if (alg !== key.alg) {
      throw new PetrelError("PETREL_TOKEN_INVALID", `The token's algorithm is not its key's (${key.alg}).`);
    }
    const nowSeconds = Math.floor(clock.wallMs() / 1000);
    const claims = checkSignature(token, key, { issuer, audience, clockTolerance, nowSeconds });
    return checkClaims(claims, nowSeconds);
  };
}

function readHeader(token: string): { readonly kid: string; readonly alg: string } {
  const match = token.length > MAX_TOKEN_LENGTH ? null : compactJws.exec(token);
  if (match?.[1] === undefined) {
    throw new PetrelError("PETREL_TOKEN_INVALID", "The token is not a signed JWT in compact form.");
  }
  let header: unknown;
  try {
    header = JSON.parse(Buffer.from(match[1], "base64url").toString("utf8"));
  } catch (error) {
    throw new PetrelError("PETREL_TOKEN_INVALID", "The token's header is not JSON.", { cause: error });
  }
  const { kid, alg, crit } = (header ?? {}) as Readonly<Record<string, unknown>>;
  // RFC 7515 4.1.11: extensions marked critical that are not understood make the token invalid; we have none.
  if (crit !== undefined) throw new PetrelError("PETREL_TOKEN_INVALID", 'The token\'s header has "crit".');
  if (typeof kid !== "string" || kid === "" || kid.length > 128) {
    throw new PetrelError("PETREL_TOKEN_INVALID", 'The token\'s header lacks "kid".');
  }
  if (typeof alg !== "string")
    throw new PetrelError("PETREL_TOKEN_INVALID", 'The token\'s header lacks "alg".');
  return { kid, alg };
}

interface Expected {
  readonly issuer: string;
  readonly audience: string;
  readonly clockTolerance: number;
  readonly nowSeconds: number;
}

function checkSignature(token: string, key: VerificationKey, expected: Expected): jwt.JwtPayload {
  let claims: string | jwt.JwtPayload;
  try {
    claims = jwt.verify(token, key.publicKey, {
      algorithms: [key.alg],
      issuer: expected.issuer,
      audience: expected.audience,
      clockTolerance: expected.clockTolerance,
      clockTimestamp: expected.nowSeconds,
    });
  } catch (error) {
    if (error instanceof jwt.TokenExpiredError) {
      throw new PetrelError("PETREL_TOKEN_EXPIRED", "The token is over: get a fresh one.", { cause: error });
    }
    const reason = error instanceof jwt.JsonWebTokenError ? error.message : "it cannot be read";
    throw new PetrelError("PETREL_TOKEN_INVALID", `The token is not valid: ${reason}.`, { cause: error });
  }
  if (typeof claims === "string") {
    throw new PetrelError("PETREL_TOKEN_INVALID", "The token's claims are not an object.");
  }
  return claims;
}

function checkClaims(claims: jwt.JwtPayload, nowSeconds: number): VerifiedToken {
  if (claims["typ"] !== ACCESS_TOKEN_TYPE) throw invalidClaim("typ");
  const token = readTokenClaims(claims);
  if (token.issuedAtMs / 1000 > nowSeconds + MAX_SKEW_SECONDS) {
    throw new PetrelError("PETREL_TOKEN_INVALID", "The token is from the future: check the clocks.");
  }
  return token;
}
