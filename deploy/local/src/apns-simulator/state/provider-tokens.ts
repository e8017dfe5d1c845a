// The APNs simulator: may the sender of a request push?
// Guarantees: Apple's rules from "Establishing a token-based connection to APNs": ES256 by a known key, its team, at
// most an hour old, one team and key per connection, a new token at most every twenty minutes.
import { verify } from "node:crypto";
import { refusal, type ApnsAnswer } from "./apns-answer.js";
import type { ApnsEnvironment, KnownKey } from "./known-keys.js";

/** The key that a connection was first used with; it may be used with no other. */
export interface ConnectionIdentity {
  key: KnownKey | undefined;
}

export interface ProviderTokensOptions {
  readonly keys: ReadonlyMap<string, KnownKey>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

interface SignedToken {
  readonly key: KnownKey;
  /** Seconds since 1970. */
  readonly issuedAt: number;
}

const MAX_AGE_SECONDS = 3600;
/** Clocks differ. Apple does not document tokens from the future; one further ahead is refused. */
const MAX_AHEAD_SECONDS = 300;
const MIN_UPDATE_SECONDS = 20 * 60;
/** More than any client of a test mints; the oldest are dropped first. */
const REMEMBERED = 1000;

export class ProviderTokens {
  readonly #options: ProviderTokensOptions;
  /** Tokens with a verified signature, because verifying is the costly part. */
  readonly #signed = new Map<string, SignedToken>();
  /** Accepted tokens, by key id. */
  readonly #seen = new Map<string, Set<string>>();
  readonly #newestIssuedAt = new Map<string, number>();
  #distinct = 0;
  /** Seconds between tokens of one key. */
  minUpdateSeconds = MIN_UPDATE_SECONDS;

  constructor(options: ProviderTokensOptions) {
    this.#options = options;
  }

  /** How many different tokens were accepted so far. */
  get distinct(): number {
    return this.#distinct;
  }

  /**
   * @param authorization the header, unchanged
   * @param identity of the connection; set by the first accepted token
   * @returns why it is refused, or undefined
   */
  check(
    authorization: string | undefined,
    environment: ApnsEnvironment,
    identity: ConnectionIdentity,
  ): ApnsAnswer | undefined {
    const token = /^bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
    if (token === undefined) return refusal("MissingProviderToken");
    const signed = this.#signed.get(token) ?? this.#readSigned(token);
    if (signed === undefined) return refusal("InvalidProviderToken");
    const { key, issuedAt } = signed;
    if (identity.key !== undefined && identity.key !== key) {
      return refusal(identity.key.teamId === key.teamId ? "UnrelatedKeyIdInToken" : "InvalidProviderToken");
    }
    if (key.environment !== undefined && key.environment !== environment) {
      return refusal("BadEnvironmentKeyIdInToken");
    }
    const ageSeconds = this.#options.now() / 1000 - issuedAt;
    if (ageSeconds > MAX_AGE_SECONDS) return refusal("ExpiredProviderToken");
    if (ageSeconds < -MAX_AHEAD_SECONDS) return refusal("InvalidProviderToken");
    if (!this.#letIn(token, key.keyId, issuedAt)) return refusal("TooManyProviderTokenUpdates");
    identity.key = key;
    return undefined;
  }

  #readSigned(token: string): SignedToken | undefined {
    const signed = readToken(token, this.#options.keys);
    if (signed === undefined) return undefined;
    this.#signed.set(token, signed);
    forgetOldest(this.#signed);
    return signed;
  }

  /** The tokens' own ages count, not when they arrived: several processes may bring one that they share. */
  #letIn(token: string, keyId: string, issuedAt: number): boolean {
    const seen = this.#seen.get(keyId) ?? new Set();
    if (seen.has(token)) return true;
    const newest = this.#newestIssuedAt.get(keyId);
    if (newest !== undefined && issuedAt - newest < this.minUpdateSeconds) return false;
    seen.add(token);
    forgetOldest(seen);
    this.#seen.set(keyId, seen);
    this.#newestIssuedAt.set(keyId, issuedAt);
    this.#distinct++;
    return true;
  }
}

/** A compact JWS (RFC 7515) of a known key, or undefined. */
function readToken(token: string, keys: ReadonlyMap<string, KnownKey>): SignedToken | undefined {
  const [header = "", claims = "", signature = "", ...more] = token.split(".");
  if (more.length > 0) return undefined;
  const { alg, kid } = readPart(header);
  const { iss, iat } = readPart(claims);
  const key = typeof kid === "string" ? keys.get(kid) : undefined;
  if (alg !== "ES256" || key === undefined || iss !== key.teamId) return undefined;
  if (typeof iat !== "number" || !Number.isSafeInteger(iat)) return undefined;
  const isGood = verify(
    "sha256",
    Buffer.from(`${header}.${claims}`),
    { key: key.publicKey, dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  return isGood ? { key, issuedAt: iat } : undefined;
}

function readPart(part: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  } catch {
    return {};
  }
}

function forgetOldest(kept: Map<string, unknown> | Set<string>): void {
  if (kept.size <= REMEMBERED) return;
  const [oldest] = kept.keys();
  if (oldest !== undefined) kept.delete(oldest);
}
