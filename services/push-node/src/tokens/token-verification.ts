// push-node: checks user tokens, as configured.
// Guarantees: with "jwks" no token costs a request; only public keys are fetched occasionally. A token that was checked
// before is remembered, within a bound. Whether a valid token was revoked is checked by the script that registers its
// connection, not here.
import { readFileSync } from "node:fs";
import type { WatchedCertificates } from "@petrel/shared/kernel/tls/certificate-times";
import { openClientTls } from "@petrel/shared/kernel/calls/client-tls-files";
import { ConfigError } from "@petrel/shared/kernel/config";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { createIntrospection } from "@petrel/shared/security/tokens/introspect-token";
import { JwksCache, jwksUrlOf } from "@petrel/shared/security/tokens/jwks-cache";
import {
  createTrustedVerification,
  readTrustRules,
  type TokenSettings,
} from "@petrel/shared/security/tokens/trusted-issuers";
import type { TokenSource } from "@petrel/shared/security/tokens/token-source";
import type { VerifyToken } from "@petrel/shared/security/tokens/verified-token";
import { VerifiedTokenCache } from "@petrel/shared/security/tokens/verified-token-cache";
import type { TrustedTokenCache } from "@petrel/shared/security/tokens/verify-token";

export interface VerificationSettings extends TokenSettings {
  readonly authUrl: string;
  readonly authCaFile: string | undefined;
  readonly authCertFile: string | undefined;
  readonly authKeyFile: string | undefined;
  readonly verifyTokens: "jwks" | "introspect";
  readonly introspectKeyFile: string | undefined;
  readonly tokenCacheBytes: number;
}

export interface TokenVerification {
  readonly verifyToken: VerifyToken;
  /** Absent if auth is asked about each token. */
  readonly cache?: TrustedTokenCache;
  /** What it depends on. */
  readonly sources: readonly TokenSource[];
  /** The certificates it calls auth with. */
  readonly certificates: readonly WatchedCertificates[];
  /** Rejects if no token can be checked now. */
  readonly check: () => Promise<void>;
}

/** The limit on bytes applies long before, unless tokens are tiny. */
const MAX_CACHED_TOKENS = 200_000;

/** @throws ConfigError if the settings do not fit together, or a file cannot be read */
export function createTokenVerification(settings: VerificationSettings, logger: Logger): TokenVerification {
  const { authUrl, verifyTokens, introspectKeyFile } = settings;
  const tls = openClientTls({
    caFile: settings.authCaFile,
    certFile: settings.authCertFile,
    keyFile: settings.authKeyFile,
    logger,
  });
  const certificates = tls?.watchedAs("auth") ?? [];
  if (verifyTokens === "introspect") {
    if (introspectKeyFile === undefined) {
      throw new ConfigError("VERIFY_TOKENS=introspect needs INTROSPECT_KEY_FILE");
    }
    // Only auth decides which tokens are valid, including those of other issuers.
    const credential = readCredential(introspectKeyFile);
    const introspection = createIntrospection({ authUrl, credential, tls, logger });
    const { verifyToken, check } = introspection;
    return { verifyToken, sources: [introspection], certificates, check };
  }
  const rules = readTrustRules(settings);
  const ownKeys = new JwksCache({ url: jwksUrlOf(authUrl), logger, tls });
  const sources: TokenSource[] = settings.trustOwnTokens ? [ownKeys] : [];
  const cache: TrustedTokenCache = new VerifiedTokenCache({
    maxTokens: MAX_CACHED_TOKENS,
    maxBytes: settings.tokenCacheBytes,
  });
  const verifyToken = createTrustedVerification(rules, {
    findOwnKey: ownKeys.findKey,
    logger,
    cache,
    onSource: (source) => void sources.push(source),
  });
  const check = async (): Promise<void> => {
    const looks = await Promise.allSettled(sources.map((source) => source.check()));
    // A key of our own needs no server.
    if (rules.hs256Key !== undefined || looks.some(({ status }) => status === "fulfilled")) return;
    throw new Error(`no public keys: ${sources.map(({ problem }) => problem).join("; ")}`);
  };
  return { verifyToken, cache, sources, certificates, check };
}

function readCredential(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new ConfigError(`INTROSPECT_KEY_FILE cannot be read: ${describeError(error)}`);
  }
}
