// What collect reads from its environment.
// Guarantees: validated and frozen by the kernel; docs/operate/configuration.md is made from this schema.
import {
  auditSettings,
  choice,
  commonSettings,
  fallbackStreamSettings,
  integer,
  notBuilt,
  optionalText,
  portSetting,
  readConfig,
  recordSettings,
  redisSettings,
} from "@petrel/shared/kernel/config";
import { tracingSettings } from "@petrel/shared/kernel/tracing/tracing-settings";
import { parseAcceptDurability, type AcceptDurability } from "@petrel/shared/redis/accept/confirm-writes";
import { readRedisTarget, type RedisTarget } from "@petrel/shared/redis/connection/redis-target";
import { EncryptionKeys } from "@petrel/shared/security/encryption-keys";
import { addressLimitSettings } from "@petrel/shared/security/requests/request-limit-settings";

export const collectConfigSchema = {
  ...commonSettings,
  ...redisSettings,
  ...auditSettings,
  ...tracingSettings,
  port: portSetting(7102),
  ...addressLimitSettings,
  ackTimeoutMs: integer("ACK_TIMEOUT_MS", "how long an acknowledgement may take, in ms", {
    default: 10_000,
    min: 100,
    max: 3_600_000,
  }),
  inboxCap: integer("INBOX_CAP", "unacknowledged messages that one user may have", {
    default: 10_000,
    min: 1,
    max: 10_000_000,
  }),
  readyCap: integer("READY_CAP", "messages of one partition that may wait for a dispatcher", {
    default: 100_000,
    min: 1,
    max: 100_000_000,
  }),
  ...fallbackStreamSettings,
  ...recordSettings,
  handOver: choice(
    "HAND_OVER",
    "where a message is handed to its user's nodes: in the step that stores it, or by the dispatcher",
    { of: ["accept", "dispatch"], default: "accept" },
  ),
  acceptDurability: {
    env: "ACCEPT_DURABILITY",
    setting: {
      describe:
        "what a message must have reached before it is answered for: Redis' `memory`, its append-only file on the disk " +
        "(`aof`), or the memory of N replicas too (`replicas:N`); see redis.md",
      default: { kind: "memory" } as AcceptDurability,
      parse: parseAcceptDurability,
    },
  },
  keyEncryptionFile: optionalText(
    "KEY_ENCRYPTION_FILE",
    "file of keys, the same as auth's, read again when it changes: opens the secrets of producer keys that sign; without it signed " +
      "requests are answered 503",
  ),
  messagesPerKey: integer(
    "MESSAGES_PER_KEY_PER_SECOND",
    "messages that one producer key may send, over all collects, counted in 10 s; a list counts each recipient; 0: no " +
      "limit; a key may have its own, see limits.md",
    { default: 10_000, max: 1_000_000 },
  ),
  messagesPerUser: integer(
    "MESSAGES_PER_USER_PER_SECOND",
    "messages that one user may be sent, by all producers together, counted in 10 s; beyond it they are refused; 0: " +
      "none is refused",
    { default: 0, max: 1_000_000 },
  ),
  messageArchiveUrl: notBuilt("MESSAGE_ARCHIVE_URL"),
  acceptDeadlineMs: integer(
    "ACCEPT_DEADLINE_MS",
    "how long collect tries to store a request's messages before it answers 503, in ms",
    { default: 5_000, min: 250, max: 60_000 },
  ),
} as const;

export interface CollectSettings {
  readonly config: ReturnType<typeof readConfig<typeof collectConfigSchema>>;
  readonly target: RedisTarget;
  /** Opens the secrets of producer keys that sign; undefined: signed requests are answered 503. */
  readonly encryptionKeys: EncryptionKeys | undefined;
}

/**
 * Reads the environment, and the files it names.
 * @throws ConfigError
 */
export function readCollectSettings(
  environment: Readonly<Record<string, string | undefined>>,
): CollectSettings {
  const config = readConfig(collectConfigSchema, environment);
  const { keyEncryptionFile: keyFile } = config;
  return {
    config,
    target: readRedisTarget(config),
    encryptionKeys: keyFile === undefined ? undefined : new EncryptionKeys(keyFile),
  };
}
