// What auth reads from its environment.
// Guarantees: validated and frozen by the kernel; docs/operate/configuration.md is made from this schema.
import type { KeyObject } from "node:crypto";
import {
  auditSettings,
  commonSettings,
  portSetting,
  redisSettings,
} from "@petrel/shared/kernel/common-settings";
import { choice, integer, list, optionalText, readConfig, text } from "@petrel/shared/kernel/config";
import { readRedisTarget, type RedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { EncryptionKeys } from "@petrel/shared/security/encryption-keys";
import { createMatchOrigin, type MatchOrigin } from "@petrel/shared/security/requests/match-origin";
import { addressLimitSettings } from "@petrel/shared/security/requests/request-limit-settings";
import { tokenAlgorithms } from "@petrel/shared/security/tokens/token-algorithm";
import { tokenSettings } from "@petrel/shared/security/tokens/token-settings";
import { readTrustRules, type TrustRules } from "@petrel/shared/security/tokens/trusted-issuers";
import { PushHosts } from "@petrel/shared/security/web-push/push-hosts";
import { readVapidPublicKey } from "@petrel/shared/security/web-push/vapid-key";
import { webPushSettings } from "@petrel/shared/security/web-push/web-push-settings";
import { readProducerKeysFile, type FileKey } from "./keys/read-producer-keys-file.js";
import type { SigningKeyTimes } from "./keys/signing-key-set.js";

export const authConfigSchema = {
  ...commonSettings,
  ...redisSettings,
  ...auditSettings,
  port: portSetting(7101),
  ...addressLimitSettings,
  requestsPerKey: integer(
    "REQUESTS_PER_KEY_PER_SECOND",
    "requests with one producer key that all auth processes together answer, counted over 10 s; 0: no limit",
    { default: 1_000, max: 1_000_000 },
  ),
  requestsPerAddress: integer(
    "REQUESTS_PER_ADDRESS_PER_SECOND",
    "requests without a producer key (refreshes, tickets) that one process answers for one address, counted over 10 s; 0: no limit",
    { default: 100, max: 1_000_000 },
  ),
  revocationsPerKey: integer(
    "REVOCATIONS_PER_KEY_PER_HOUR",
    "revocations by `userId` or `jti` with one producer key, in all auth processes; a `jti` that must be remembered for more than a day counts as ten; revoking by the token itself is free; 0: no limit",
    { default: 10_000, max: 100_000_000 },
  ),
  ...tokenSettings,
  tokenAlgorithm: choice(
    "TOKEN_ALGORITHM",
    "algorithm of new signing keys; takes effect at the next rotation",
    {
      of: tokenAlgorithms,
      default: "ES256",
    },
  ),
  signingKeyRotationDays: integer(
    "SIGNING_KEY_ROTATION_DAYS",
    "how long a key signs before the next one takes over; 0: until it is rotated by hand",
    { default: 90, max: 3_650 },
  ),
  signingKeyLeadSeconds: integer(
    "SIGNING_KEY_LEAD_SECONDS",
    "how long a key is published before it signs; must exceed the time for which verifiers cache the JWK set",
    { default: 900, max: 86_400 },
  ),
  refreshLeewaySeconds: integer(
    "REFRESH_LEEWAY_SECONDS",
    "how long a spent refresh token still returns its successor, in case the answer was lost; after that, using it ends the session",
    { default: 10, max: 60 },
  ),
  sessionIdleDays: integer("SESSION_IDLE_DAYS", "how long a session lives without being refreshed", {
    default: 30,
    min: 1,
    max: 366,
  }),
  sessionMaxDays: integer("SESSION_MAX_DAYS", "how long a session lives in total", {
    default: 90,
    min: 1,
    max: 366,
  }),
  maxSessionsPerUser: integer(
    "MAX_SESSIONS_PER_USER",
    "sessions one user may have; beyond that, sessions that were never refreshed end first, then the least recently refreshed",
    { default: 20, min: 1, max: 1_000 },
  ),
  allowedOrigins: list(
    "ALLOWED_ORIGINS",
    "origins of pages that may call auth (CORS), such as `https://app.example.com`, `https://*.example.com` for its subdomains, `self` for the name in the request, or `*` for any",
    { default: [] },
  ),
  ...webPushSettings,
  keyEncryptionFile: text(
    "KEY_ENCRYPTION_FILE",
    "file with one key a line, each 32 bytes as base64 (`openssl rand -base64 32`); the first encrypts private keys and the secrets of signing producer keys in Redis, all of them decrypt; collect and dispatch need the same file to check signatures; reloaded when it changes; see operations.md",
  ),
  producerKeysFile: optionalText(
    "PRODUCER_KEYS_FILE",
    "JSON file of producer keys, `[{ id, owner, name, scopes, secretSha256 or secret, require?, messagesPerSecond? }]`, loaded at start; see producers.md",
  ),
} as const;

export type AuthConfig = ReturnType<typeof readConfig<typeof authConfigSchema>>;

export interface AuthSettings {
  readonly config: AuthConfig;
  readonly target: RedisTarget;
  /** They seal private keys, and the secrets of producer keys that sign. */
  readonly encryptionKeys: EncryptionKeys;
  readonly trust: TrustRules;
  /** Matches the origins whose pages may call the routes for browsers. */
  readonly matchOrigin: MatchOrigin;
  readonly pushHosts: PushHosts;
  /** The public half of VAPID_KEY_FILE. */
  readonly vapidKey: KeyObject | undefined;
  /** The producer keys that come with the installation. */
  readonly fileKeys: readonly FileKey[];
}

/**
 * Reads the environment and the files that it names.
 * @throws ConfigError
 */
export function readAuthSettings(environment: Readonly<Record<string, string | undefined>>): AuthSettings {
  const config = readConfig(authConfigSchema, environment);
  return {
    config,
    target: readRedisTarget(config),
    encryptionKeys: new EncryptionKeys(config.keyEncryptionFile),
    trust: readTrustRules(config),
    matchOrigin: createMatchOrigin(config.allowedOrigins),
    pushHosts: new PushHosts(config.webPushHosts),
    vapidKey: config.vapidKeyFile === undefined ? undefined : readVapidPublicKey(config.vapidKeyFile),
    fileKeys: config.producerKeysFile === undefined ? [] : readProducerKeysFile(config.producerKeysFile),
  };
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** Added to a token's longest life, a day: covers clock skew and cached copies of the JWK set. */
const RETIRED_MARGIN_MS = 60 * 60 * 1000;

export function readKeyTimes(
  config: Pick<AuthConfig, "signingKeyLeadSeconds" | "signingKeyRotationDays">,
): SigningKeyTimes {
  const leadMs = config.signingKeyLeadSeconds * 1_000;
  return {
    leadMs,
    rotateAfterMs: config.signingKeyRotationDays * DAY_MS,
    keepRetiredMs: DAY_MS + leadMs + RETIRED_MARGIN_MS,
    keepWithdrawnMs: 366 * DAY_MS,
  };
}

export function readSessionTimes(
  config: Pick<
    AuthConfig,
    "refreshLeewaySeconds" | "sessionIdleDays" | "sessionMaxDays" | "maxSessionsPerUser"
  >,
) {
  return {
    leewayMs: config.refreshLeewaySeconds * 1_000,
    idleMs: config.sessionIdleDays * DAY_MS,
    absoluteMs: config.sessionMaxDays * DAY_MS,
    maxPerUser: config.maxSessionsPerUser,
  };
}
