// dispatch: its environment.
// Guarantees: validated and frozen; docs/operate/configuration.md is made from this schema.
import { archiveSettings, redriveSettings } from "@petrel/shared/archive/archive-settings";
import {
  acceptSettings,
  auditSettings,
  commonSettings,
  fallbackStreamSettings,
  portSetting,
  recordSettings,
  redisSettings,
} from "@petrel/shared/kernel/common-settings";
import {
  choice,
  choices,
  flag,
  integer,
  optionalText,
  orderedChoices,
  readConfig,
  url,
} from "@petrel/shared/kernel/config";
import { eventSettings } from "@petrel/shared/kernel/events/event-settings";
import { tracingSettings } from "@petrel/shared/kernel/tracing/tracing-settings";
import { fallbackChannels } from "@petrel/shared/protocol/fallback/fallback-channels";
import { readRedisTarget, type RedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { EncryptionKeys } from "@petrel/shared/security/encryption-keys";
import { webPushSettings } from "@petrel/shared/security/web-push/web-push-settings";
import { addressLimitSettings } from "@petrel/shared/security/requests/request-limit-settings";

/** `route` hands messages over and wakes users; `fallback` reaches users by the configured fallback channels. */
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
    "this dispatcher's name, by default the host's; each start appends a fresh suffix",
  ),
  keyEncryptionFile: optionalText(
    "KEY_ENCRYPTION_FILE",
    "file of keys, the same as auth's, reloaded when it changes: encrypts the secrets of webhooks and decrypts those of " +
      "signing producer keys; without it, signed requests and new webhooks get 503",
  ),
  dispatchRoles: choices(
    "DISPATCH_ROLES",
    "what this dispatcher does: `route` hands messages over and watches for acknowledgements, `fallback` (formerly `apns`) sends through the fallback channels; a cluster needs both",
    { of: dispatchRoles, formerly: { apns: "fallback" }, default: dispatchRoles },
  ),
  ackTimeoutMs: integer(
    "ACK_TIMEOUT_MS",
    "how long an acknowledgement may take; then the message is nudged, and a timeout later it goes to the fallback; the same for collect, dispatch and push-node",
    { default: 10_000, min: 100 },
  ),
  leaseMs: integer(
    "LEASE_MS",
    "how long a silent dispatcher keeps its partitions; then another takes them over",
    { default: 5_000, min: 300, max: 600_000 },
  ),
  wakeIntervalMs: integer(
    "WAKE_INTERVAL_MS",
    "how often to look for users who are due to be woken; a partition where nobody is due soon is checked once a second",
    {
      default: 250,
      min: 10,
      max: 60_000,
    },
  ),
  offlineSettleMs: integer(
    "OFFLINE_SETTLE_MS",
    "how long nobody counts as offline after Redis was away or failed over, while nodes register their connections again (some 30,000 a second in all); after a new epoch it counts from when the last clients have moved",
    { default: 5_000, max: 600_000 },
  ),
  unheardConfirmMs: integer(
    "UNHEARD_CONFIRM_MS",
    "how long a live node may not listen before its user counts as offline",
    { default: 1_000, min: 10, max: 600_000 },
  ),
  reconcileIntervalMs: integer(
    "RECONCILE_INTERVAL_MS",
    "pause between two steps of the reconciler, of 1,000 keys each; 120 times as long between two rounds",
    { default: 250, min: 1, max: 3_600_000 },
  ),
  inboxIdleHours: integer(
    "INBOX_IDLE_HOURS",
    "how long an acknowledged inbox may be idle before it is emptied; a device that comes back later is told that it missed what another device acknowledged",
    { default: 24, min: 1, max: 720 },
  ),
  deviceKeepDays: integer(
    "DEVICE_KEEP_DAYS",
    "days after which a device that is neither registered again nor reached is removed",
    { default: 90, min: 1, max: 730 },
  ),
  fallbackChannels: orderedChoices(
    "FALLBACK_CHANNELS",
    "the fallback channels, in the order in which they are asked; one that is left out is not asked, one that is not configured reaches nobody",
    { of: fallbackChannels, default: fallbackChannels },
  ),
  apnsKeyFile: optionalText(
    "APNS_KEY_FILE",
    ".p8 file of an APNs key, for every app of its team; with APNS_KEY_ID and APNS_TEAM_ID",
  ),
  apnsKeyId: optionalText("APNS_KEY_ID", "the key's id, as Apple shows it"),
  apnsTeamId: optionalText("APNS_TEAM_ID", "the id of the team that the key belongs to"),
  apnsAppsFile: optionalText(
    "APNS_APPS_FILE",
    "JSON file of several apps, each with its key or certificate (see docs/phones/apns.md); instead of APNS_KEY_FILE",
  ),
  apnsEndpoint: url("APNS_ENDPOINT", "APNs endpoint for devices of the environment `production`", {
    default: "https://api.push.apple.com",
    protocols: ["https"],
  }),
  apnsSandboxEndpoint: url(
    "APNS_SANDBOX_ENDPOINT",
    "APNs endpoint for devices of the environment `sandbox`",
    {
      default: "https://api.sandbox.push.apple.com",
      protocols: ["https"],
    },
  ),
  apnsCaFile: optionalText(
    "APNS_CA_FILE",
    "PEM file of the authorities that signed the endpoints' certificates; the system's by default",
  ),
  apnsProxyUrl: url("APNS_PROXY_URL", "HTTP proxy for APNs, as http://[user:password@]host:port", {
    default: "",
    protocols: ["http", "https"],
  }),
  apnsTimeoutMs: integer("APNS_TIMEOUT_MS", "how long one attempt to push to a user's devices may take", {
    default: 15_000,
    min: 500,
    max: 120_000,
  }),
  apnsSuspicionMs: integer(
    "APNS_SUSPICION_MS",
    "how long a token that Apple rejects must be the only one before its device is quarantined; see apns.md",
    { default: 30_000, min: 100, max: 600_000 },
  ),
  apnsBreakerOpenMs: integer(
    "APNS_BREAKER_OPEN_MS",
    "first pause of an app's pushes after Apple has rejected many of its tokens at once",
    { default: 60_000, min: 100, max: 3_600_000 },
  ),
  ...webPushSettings,
  vapidSubject: optionalText(
    "VAPID_SUBJECT",
    "contact that push services may write to about this server's pushes: mailto: and an address, or an https: URL; with VAPID_KEY_FILE",
  ),
  webPushTimeoutMs: integer(
    "WEB_PUSH_TIMEOUT_MS",
    "how long one attempt to push to a user's browsers may take",
    { default: 10_000, min: 500, max: 120_000 },
  ),
  wechatAppsFile: optionalText(
    "WECHAT_APPS_FILE",
    "JSON file of the WeChat apps to send through, each with its kind, its secret and its template (see docs/phones/wechat.md); without it WeChat is off",
  ),
  wechatEndpoint: url("WECHAT_ENDPOINT", "WeChat's interface for servers", {
    default: "https://api.weixin.qq.com",
    protocols: ["http", "https"],
  }),
  wechatTokenInterface: choice(
    "WECHAT_TOKEN_INTERFACE",
    "how access tokens are fetched: `stable` does not invalidate a token that another of your systems uses; `legacy` is the older way, where only one system may fetch",
    { of: ["stable", "legacy"], default: "stable" },
  ),
  wechatTimeoutMs: integer(
    "WECHAT_TIMEOUT_MS",
    "how long one attempt to reach a user in WeChat may take; half of it a request",
    { default: 6_000, min: 500, max: 120_000 },
  ),
  wechatConnections: integer(
    "WECHAT_CONNECTIONS",
    "connections this dispatcher may have to WeChat at a time; further requests wait",
    { default: 64, min: 1, max: 1_000 },
  ),
  fallbackWebhookUrl: url(
    "FALLBACK_WEBHOOK_URL",
    "URL that messages for offline users are posted to (see docs/phones/fallback.md); without it they wait in the inbox",
    { default: "", protocols: ["http", "https"] },
  ),
  fallbackWebhookSecretFile: optionalText(
    "FALLBACK_WEBHOOK_SECRET_FILE",
    "file with the secrets that sign these requests, one a line, each `whsec_` and base64; without it they are not signed",
  ),
  fallbackWebhookTimeoutMs: integer(
    "FALLBACK_WEBHOOK_TIMEOUT_MS",
    "how long the receiver may take to answer",
    { default: 10_000, min: 100, max: 120_000 },
  ),
  webhookAllowPrivate: flag(
    "WEBHOOK_ALLOW_PRIVATE",
    "whether webhooks may use `http:` and private, loopback, link-local and other special addresses: for development, or if every admin may reach this network anyway",
    { default: false },
  ),
  ...acceptSettings,
  ...fallbackStreamSettings,
  ...recordSettings,
  ...archiveSettings,
  ...redriveSettings,
  ...eventSettings,
  fallbackConcurrency: integer(
    "FALLBACK_CONCURRENCY",
    "messages this dispatcher sends through one fallback channel at a time; each channel has that many slots of its own",
    { default: 256, min: 1, max: 10_000 },
  ),
  fallbackClaimMs: integer(
    "FALLBACK_CLAIM_MS",
    "how long a worker may hold a message before another takes it over; at least twice what sending may take",
    { default: 60_000, min: 500, max: 3_600_000 },
  ),
  fallbackRetryBaseMs: integer(
    "FALLBACK_RETRY_BASE_MS",
    "longest pause before the first retry; it doubles with each further one",
    { default: 1_000, min: 1, max: 3_600_000 },
  ),
  fallbackRetryCapMs: integer(
    "FALLBACK_RETRY_CAP_MS",
    "longest pause before any retry, unless the receiver asks for more",
    { default: 300_000, min: 1, max: 86_400_000 },
  ),
  fallbackMaxAttempts: integer(
    "FALLBACK_MAX_ATTEMPTS",
    "attempts before a message fails and becomes a dead letter",
    { default: 30, min: 1, max: 1_000 },
  ),
  deadLettersCap: integer(
    "DEAD_LETTERS_CAP",
    "dead letters kept per partition and cause; beyond that the oldest are removed",
    { default: 10_000, min: 1, max: 10_000_000 },
  ),
} as const;

export type DispatchConfig = ReturnType<typeof readDispatchConfig>;

/** The configuration and the contents of the files that it names. */
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
 * Reads the environment and the files that it names.
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
