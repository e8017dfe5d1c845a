// What collect reads from its environment.
// Guarantees: validated and frozen by the kernel; docs/configuration.md is made from this schema.
import {
  choice,
  commonSettings,
  integer,
  notBuilt,
  portSetting,
  redisSettings,
} from "@petrel/shared/kernel/config";
import { parseAcceptDurability, type AcceptDurability } from "@petrel/shared/redis/confirm-writes";

export const collectConfigSchema = {
  ...commonSettings,
  ...redisSettings,
  port: portSetting(7102),
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
  messageArchiveUrl: notBuilt("MESSAGE_ARCHIVE_URL"),
  acceptDeadlineMs: integer(
    "ACCEPT_DEADLINE_MS",
    "how long collect tries to store a request's messages before it answers 503, in ms",
    { default: 5_000, min: 250, max: 60_000 },
  ),
} as const;
