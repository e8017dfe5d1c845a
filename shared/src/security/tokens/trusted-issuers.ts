// auth, push-node -> here -> verify-token: turns the settings into a check of users' tokens.
// Guarantees: an issuer that is half configured, or has another one's name, ends the start. Each issuer's tokens are
// checked only with its own keys.
import { type Clock, systemClock } from "../../kernel/clock.js";
import { ConfigError } from "../../kernel/config.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { readHs256Key } from "./hs256-key.js";
import { JwksCache } from "./jwks-cache.js";
import type { TokenSource } from "./token-source.js";
import type { VerifyToken } from "./verified-token.js";
import {
  createVerifyToken,
  type FindVerificationKey,
  type TrustedIssuer,
  type TrustedTokenCache,
  type VerificationKey,
} from "./verify-token.js";
import { parseUrl } from "../../kernel/parse-url.js";

/** As read by `tokenSettings`. */
export interface TokenSettings {
  readonly tokenIssuer: string;
  readonly tokenAudience: string;
  readonly tokenClockSkewSeconds: number;
  readonly trustOwnTokens: boolean;
  readonly tokenHs256SecretFile: string | undefined;
  readonly tokenHs256KeyId: string;
  readonly externalIssuer: string | undefined;
  readonly externalJwksUrl: string | undefined;
  readonly externalAudience: string | undefined;
  readonly externalUserClaim: string;
  readonly externalTokenTypes: readonly string[];
}

/** The rules, with files read; nothing has been fetched yet. */
export interface TrustRules {
  readonly settings: TokenSettings;
  readonly hs256Key: VerificationKey | undefined;
  readonly external: ExternalIssuer | undefined;
}

interface ExternalIssuer {
  readonly issuer: string;
  readonly jwksUrl: string;
  readonly audience: string;
  readonly userClaim: string;
  readonly headerTypes: readonly string[];
}

const LOOPBACK: readonly string[] = ["localhost", "127.0.0.1", "[::1]"];

/** @throws ConfigError */
export function readTrustRules(settings: TokenSettings): TrustRules {
  const external = readExternalIssuer(settings);
  const { tokenHs256SecretFile: secretFile, tokenHs256KeyId: keyId } = settings;
  const hs256Key = secretFile === undefined ? undefined : readHs256Key(secretFile, keyId);
  if (!settings.trustOwnTokens && external === undefined && hs256Key === undefined) {
    throw new ConfigError(
      "TRUST_OWN_TOKENS=false leaves no issuer to trust: set EXTERNAL_ISSUER or TOKEN_HS256_SECRET_FILE",
    );
  }
  return { settings, hs256Key, external };
}

function readExternalIssuer(settings: TokenSettings): ExternalIssuer | undefined {
  const {
    externalIssuer: issuer,
    externalJwksUrl: jwksUrl,
    externalAudience: audience,
    externalUserClaim: userClaim,
    externalTokenTypes: types,
  } = settings;
  if (issuer === undefined && jwksUrl === undefined && audience === undefined) return undefined;
  if (issuer === undefined || jwksUrl === undefined || audience === undefined) {
    throw new ConfigError("EXTERNAL_ISSUER, EXTERNAL_JWKS_URL and EXTERNAL_AUDIENCE must be set together");
  }
  // The issuer decides which keys apply; if two share a name, it cannot.
  if (issuer === settings.tokenIssuer) {
    throw new ConfigError("EXTERNAL_ISSUER must differ from TOKEN_ISSUER");
  }
  const url = parseUrl(jwksUrl);
  if (url?.protocol !== "https:" && !(url?.protocol === "http:" && LOOPBACK.includes(url.hostname))) {
    // Anyone who can change it in transit could sign as anybody.
    throw new ConfigError("EXTERNAL_JWKS_URL must be a URL with https://, or http:// to this machine");
  }
  const headerTypes = types.map((type) => type.toLowerCase().replace(/^application\//, ""));
  if (headerTypes.length === 0) throw new ConfigError("EXTERNAL_TOKEN_TYPES must name at least one");
  return { issuer, jwksUrl, audience, userClaim, headerTypes };
}

export interface TokenVerificationOptions {
  /** The keys of auth's own tokens. */
  readonly findOwnKey: FindVerificationKey;
  /** For auth's own tokens; by default, and for those of others, the setting applies. */
  readonly ownClockToleranceSeconds?: number;
  readonly logger: Logger;
  /** Without one every token is checked anew. */
  readonly cache?: TrustedTokenCache;
  readonly clock?: Clock;
  /** Gets the keys of the external issuer, if there is one. */
  readonly onSource?: (source: TokenSource) => void;
}

/** A check of tokens of every trusted issuer. */
export function createTrustedVerification(
  { settings, hs256Key, external }: TrustRules,
  {
    findOwnKey,
    ownClockToleranceSeconds,
    logger,
    cache,
    clock = systemClock,
    onSource,
  }: TokenVerificationOptions,
): VerifyToken {
  const { tokenIssuer, tokenAudience, tokenClockSkewSeconds, trustOwnTokens } = settings;
  const own: TrustedIssuer = {
    issuer: tokenIssuer,
    audience: tokenAudience,
    clockToleranceSeconds: ownClockToleranceSeconds ?? tokenClockSkewSeconds,
    findKey: (kid) => {
      // First, so that a kid that is configured here is never looked up elsewhere.
      if (kid === hs256Key?.kid) return Promise.resolve(hs256Key);
      return trustOwnTokens ? findOwnKey(kid) : Promise.resolve(undefined);
    },
  };
  const issuers = [own];
  if (external !== undefined) {
    const keys = new JwksCache({ url: external.jwksUrl, source: "the external issuer", logger, clock });
    onSource?.(keys);
    issuers.push({
      issuer: external.issuer,
      audience: external.audience,
      clockToleranceSeconds: tokenClockSkewSeconds,
      findKey: keys.findKey,
      foreign: { userClaim: external.userClaim, headerTypes: external.headerTypes },
    });
  }
  return createVerifyToken({ issuers, cache, clock });
}
