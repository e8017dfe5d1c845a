// dispatch: its environment.
// Guarantees: validated, frozen, and documented by this schema (docs/operate/configuration.md is made from it).
import {
  auditSettings,
  choices,
  commonSettings,
  fallbackStreamSettings,
  integer,
  optionalText,
  portSetting,
  readConfig,
  recordSettings,
  redisSettings,
  url,
} from "@petrel/shared/kernel/config";
import { tracingSettings } from "@petrel/shared/kernel/tracing/tracing-settings";
import { readRedisTarget, type RedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { EncryptionKeys } from "@petrel/shared/security/encryption-keys";
import { addressLimitSettings } from "@petrel/shared/security/requests/request-limit-settings";

/** `route` hands over and wakes; `fallback` reaches users by the fallback channels, whichever are configured. */
export const dispatchRoles = ["route", "fallback"] as const;

export const dispatchSettings = {
  ...commonSettings,
  ...redisSettings,
  ...auditSettings,
  ...tracingSettings,
  port: portSetting(7103),
  ...addressLimitSettings,
  nodeName: optionalText(
    "NODE_NAME",
    "this dispatcher's name, by default the host's; a start appends a fresh mark to it",
  ),
  keyEncryptionFile: optionalText(
    "KEY_ENCRYPTION_FILE",
    "file of keys, the same as auth's, read again when it changes: decrypts the secrets of signing producer keys; without " +
      "it, signed requests get 503",
  ),
  dispatchRoles: choices(
    "DISPATCH_ROLES",
    "what this dispatcher does: `route` hands over and looks after what nobody acknowledged, `fallback` (formerly " +
      "`apns`) sends by the fallback channels; each is needed somewhere",
    { of: dispatchRoles, formerly: { apns: "fallback" }, default: dispatchRoles },
  ),
  ackTimeoutMs: integer(
    "ACK_TIMEOUT_MS",
    "how long an acknowledgement may take before the user is looked at again",
    { default: 10_000, min: 100 },
  ),
  leaseMs: integer(
    "LEASE_MS",
    "how long a dispatcher that gives no sign of life keeps its partitions from the others",
    { default: 5_000, min: 300, max: 600_000 },
  ),
  wakeIntervalMs: integer(
    "WAKE_INTERVAL_MS",
    "how often to look for users whose time to be looked at has come; a partition where nobody's time is near is looked at once a second",
    {
      default: 250,
      min: 10,
      max: 60_000,
    },
  ),
  offlineSettleMs: integer(
    "OFFLINE_SETTLE_MS",
    "for how long nobody counts as offline after Redis was away or has become another master: the nodes register their connections again, some 30,000 a second in all; after a new epoch counted from when the last clients have moved",
    { default: 5_000, max: 600_000 },
  ),
  unheardConfirmMs: integer(
    "UNHEARD_CONFIRM_MS",
    "after how long a user counts as offline whose node is there but does not listen",
    { default: 1_000, min: 10, max: 600_000 },
  ),
  reconcileIntervalMs: integer(
    "RECONCILE_INTERVAL_MS",
    "pause between two steps of the reconciler, which looks at 1,000 keys in each; twenty times as long between two rounds",
    { default: 250, min: 1, max: 3_600_000 },
  ),
  inboxIdleHours: integer(
    "INBOX_IDLE_HOURS",
    "after how long without a message and an acknowledgement an inbox is emptied in which everything is acknowledged: a " +
      "device of its user that comes back later is told that it has missed what another one acknowledged",
    { default: 24, min: 1, max: 720 },
  ),
  deviceKeepDays: integer(
    "DEVICE_KEEP_DAYS",
    "for how many days a device is kept that is neither registered again nor reached",
    { default: 90, min: 1, max: 730 },
  ),
  apnsKeyFile: optionalText(
    "APNS_KEY_FILE",
    "the .p8 file of a key for APNs, which then pushes to every app of its team; with APNS_KEY_ID and APNS_TEAM_ID",
  ),
  apnsKeyId: optionalText("APNS_KEY_ID", "the key's id, as Apple shows it"),
  apnsTeamId: optionalText("APNS_TEAM_ID", "the id of the team that the key belongs to"),
  apnsAppsFile: optionalText(
    "APNS_APPS_FILE",
    "JSON file with several apps, each with its key or certificate (see docs/phones/apns.md); instead of APNS_KEY_FILE",
  ),
  apnsEndpoint: url("APNS_ENDPOINT", "APNs for devices of the environment production", {
    default: "https://api.push.apple.com",
    protocols: ["https"],
  }),
  apnsSandboxEndpoint: url("APNS_SANDBOX_ENDPOINT", "APNs for devices of the environment sandbox", {
    default: "https://api.sandbox.push.apple.com",
    protocols: ["https"],
  }),
  apnsCaFile: optionalText(
    "APNS_CA_FILE",
    "PEM file of the authorities behind the endpoints' certificates; the system's own by default",
  ),
  apnsProxyUrl: url(
    "APNS_PROXY_URL",
    "an HTTP proxy on the way to APNs, as http://[user:password@]host:port",
    { default: "", protocols: ["http", "https"] },
  ),
  apnsTimeoutMs: integer("APNS_TIMEOUT_MS", "how long an attempt at a user's devices may take, in ms", {
    default: 15_000,
    min: 500,
    max: 120_000,
  }),
  apnsSuspicionMs: integer(
    "APNS_SUSPICION_MS",
    "how long a device must stand alone with a token that Apple calls bad before it is set aside, in ms",
    { default: 30_000, min: 100, max: 600_000 },
  ),
  apnsBreakerOpenMs: integer(
    "APNS_BREAKER_OPEN_MS",
    "how long an app's sends pause at first where many of its tokens are called bad at once, in ms",
    { default: 60_000, min: 100, max: 3_600_000 },
  ),
  fallbackWebhookUrl: url(
    "FALLBACK_WEBHOOK_URL",
    "where messages are posted whose users are offline (see docs/phones/fallback.md); without it they wait in the inbox",
    { default: "", protocols: ["http", "https"] },
  ),
  fallbackWebhookSecretFile: optionalText(
    "FALLBACK_WEBHOOK_SECRET_FILE",
    "file with the secret that signs these requests, `whsec_` and base64; one a line, each signs; without it they are not signed",
  ),
  fallbackWebhookTimeoutMs: integer(
    "FALLBACK_WEBHOOK_TIMEOUT_MS",
    "how long the receiver may take to answer, in ms",
    { default: 10_000, min: 100, max: 120_000 },
  ),
  ...fallbackStreamSettings,
  ...recordSettings,
  fallbackConcurrency: integer(
    "FALLBACK_CONCURRENCY",
    "messages that this dispatcher sends by fallback channels at the same time",
    { default: 256, min: 1, max: 10_000 },
  ),
  fallbackClaimMs: integer(
    "FALLBACK_CLAIM_MS",
    "after how long an entry that a worker has not settled is taken over by another, in ms; at least twice what sending may take",
    { default: 60_000, min: 500, max: 3_600_000 },
  ),
  fallbackRetryBaseMs: integer(
    "FALLBACK_RETRY_BASE_MS",
    "before the first retry at most this long, twice as long before each further one, in ms",
    { default: 1_000, min: 1, max: 3_600_000 },
  ),
  fallbackRetryCapMs: integer(
    "FALLBACK_RETRY_CAP_MS",
    "before a retry never longer than this, but where the receiver asks for it, in ms",
    { default: 300_000, min: 1, max: 86_400_000 },
  ),
  fallbackMaxAttempts: integer(
    "FALLBACK_MAX_ATTEMPTS",
    "attempts after which a message fails and becomes a dead letter",
    { default: 30, min: 1, max: 1_000 },
  ),
  deadLettersCap: integer(
    "DEAD_LETTERS_CAP",
    "dead letters kept of each partition and cause; beyond it the oldest go",
    { default: 10_000, min: 1, max: 10_000_000 },
  ),
} as const;

export type DispatchConfig = ReturnType<typeof readDispatchConfig>;

/** The configuration, and what it names. */
export interface DispatchSettings {
  readonly config: DispatchConfig;
  readonly target: RedisTarget;
  readonly encryptionKeys: EncryptionKeys | undefined;
}

/** @throws ConfigError naming every variable that is wrong */
export function readDispatchConfig(environment: Readonly<Record<string, string | undefined>>) {
  return readConfig(dispatchSettings, environment);
}

/**
 * Reads the environment, and the files it names.
 * @throws ConfigError
 */
export function readDispatchSettings(
  environment: Readonly<Record<string, string | undefined>>,
): DispatchSettings {
  const config = readDispatchConfig(environment);
  const { keyEncryptionFile: keyFile } = config;
  return {
    config,
    target: readRedisTarget(config),
    encryptionKeys: keyFile === undefined ? undefined : new EncryptionKeys(keyFile),
  };
}
