// What collect reads from its environment.
// Guarantees: validated and frozen by the kernel; docs/operate/configuration.md is made from this schema.
import { archiveSettings, archiveWritingSettings } from "@petrel/shared/archive/archive-settings";
import {
  acceptSettings,
  auditSettings,
  commonSettings,
  fallbackStreamSettings,
  portSetting,
  recordSettings,
  scheduleSettings,
  redisSettings,
} from "@petrel/shared/kernel/common-settings";
import { choice, integer, optionalText, readConfig } from "@petrel/shared/kernel/config";
import { eventSettings } from "@petrel/shared/kernel/events/event-settings";
import { TopicsFile } from "@petrel/shared/kernel/topics/topics-file";
import { topicsSettings } from "@petrel/shared/kernel/topics/topics-settings";
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
  ackTimeoutMs: integer(
    "ACK_TIMEOUT_MS",
    "how long an acknowledgement may take; then the message is nudged, and a timeout later it goes to the fallback; the same for collect, dispatch and push-node",
    {
      default: 10_000,
      min: 100,
      max: 3_600_000,
    },
  ),
  ...acceptSettings,
  ...fallbackStreamSettings,
  ...recordSettings,
  ...scheduleSettings,
  ...topicsSettings,
  ...eventSettings,
  handOver: choice(
    "HAND_OVER",
    "who hands a message to its user's nodes: the step that stores it (`accept`), or the dispatcher (`dispatch`)",
    { of: ["accept", "dispatch"], default: "accept" },
  ),
  acceptDurability: {
    env: "ACCEPT_DURABILITY",
    setting: {
      describe:
        "where a message must be before collect answers 202: in the memory of Redis (`memory`), in its append-only file on disk (`aof`), or also in the memory of N replicas (`replicas:N`); see redis.md",
      default: { kind: "memory" } as AcceptDurability,
      parse: parseAcceptDurability,
    },
  },
  keyEncryptionFile: optionalText(
    "KEY_ENCRYPTION_FILE",
    "the same file as auth's: decrypts the secrets of signing producer keys; signed requests get 503 without it; reloaded when it changes",
  ),
  messagesPerKey: integer(
    "MESSAGES_PER_KEY_PER_SECOND",
    "messages one producer key may send through all collect processes, counted over 10 s; each recipient of a list counts; 0: no limit; a key may have its own, see limits.md",
    { default: 10_000, max: 1_000_000 },
  ),
  ...archiveSettings,
  ...archiveWritingSettings,
  acceptDeadlineMs: integer(
    "ACCEPT_DEADLINE_MS",
    "how long collect tries to store the messages of a request before it answers 503",
    { default: 5_000, min: 250, max: 60_000 },
  ),
} as const;

export interface CollectSettings {
  readonly config: ReturnType<typeof readConfig<typeof collectConfigSchema>>;
  readonly target: RedisTarget;
  /** Opens the secrets of producer keys that sign; if undefined, signed requests are answered with 503. */
  readonly encryptionKeys: EncryptionKeys | undefined;
  readonly topicRules: TopicsFile;
}

/**
 * Reads the environment and the files that it names.
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
    topicRules: new TopicsFile(
      config.topicsFile,
      ({ archive }) => archive && config.messageArchiveUrl === undefined,
    ),
  };
}
