// Makes a user's access token, which a browser shows to a push node.
// Guarantees: every token carries iss, aud, sub, iat, exp, jti, typ and the user's generation, and names its key.
import { type KeyObject, randomBytes } from "node:crypto";
import jwt from "jsonwebtoken";
import { type Clock, systemClock } from "../../kernel/clock.js";
import { writeTopicGrants, type TopicGrant } from "../../protocol/topics/topic-grants.js";
import { ACCESS_TOKEN_TYPE, type TokenDevice } from "./verified-token.js";
import type { TokenAlgorithm } from "./token-algorithm.js";

export interface SigningKey {
  readonly kid: string;
  readonly alg: TokenAlgorithm;
  readonly privateKey: KeyObject;
}

export interface TokenContent {
  /** A valid user id. */
  readonly userId: string;
  /** The user's current token generation. */
  readonly generation: number;
  readonly sessionId?: string | undefined;
  readonly ttlSeconds: number;
  readonly device?: TokenDevice | undefined;
  readonly topics?: readonly TopicGrant[] | undefined;
}

export interface SignedToken {
  /** A compact JWS. */
  readonly token: string;
  readonly jti: string;
  readonly expiresAtMs: number;
}

export interface SignTokenOptions {
  readonly issuer: string;
  readonly audience: string;
  readonly clock?: Clock;
}

export type SignToken = (key: SigningKey, content: TokenContent) => SignedToken;

export function createSignToken({ issuer, audience, clock = systemClock }: SignTokenOptions): SignToken {
  return (key, { userId, generation, sessionId, ttlSeconds, device, topics }) => {
    const iat = Math.floor(clock.wallMs() / 1000);
    const exp = iat + ttlSeconds;
    const jti = randomBytes(16).toString("base64url");
    const claims = {
      iss: issuer,
      aud: audience,
      sub: userId,
      iat,
      exp,
      jti,
      typ: ACCESS_TOKEN_TYPE,
      gen: generation,
      ...(sessionId === undefined ? {} : { sid: sessionId }),
      ...(device === undefined ? {} : { device }),
      ...(topics === undefined ? {} : { topics: writeTopicGrants(topics) }),
    };
    const token = jwt.sign(claims, key.privateKey, { algorithm: key.alg, keyid: key.kid });
    return { token, jti, expiresAtMs: exp * 1000 };
  };
}
