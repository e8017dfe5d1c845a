// The name of every key and channel of a partition.
// Guarantees: all keys of a partition carry its hash tag `{pN}`, so one script call may use any of them together, on a
// Redis Cluster too. Nothing else builds such a name.
import type { DeadLetterCause } from "../protocol/fallback/dead-letter-causes.js";
import type { Priority } from "../protocol/messages/stored-message.js";

/**
 * How long a user's hash outlives its last use, ms. It must outlive every record, and a record outlives its message:
 * the longest TTL of the contract is 30 days. `accept` and `connect` both extend it, and must agree.
 */
export const USER_KEEP_MS = 33 * 24 * 60 * 60 * 1000;

export interface PartitionKeys {
  readonly partition: number;
  /** the prefix of all its keys */
  readonly prefix: string;
  /** hash: holder, token, until */
  readonly owner: string;
  /** hash: replid run n since held at, see scripts/includes/partition/current-generation */
  readonly generation: string;
  /** stream of messages that are not handed over yet */
  readonly ready: string;
  /** sorted set: user -> next wake, server ms */
  readonly due: string;
  /**
   * stream of messages for a fallback channel, see protocol/fallback-entry.ts; read by a consumer group.
   * @param channel whose queue; absent: the common queue of messages without a channel yet
   */
  fallback(priority: Priority, channel?: string): string;
  /** sorted set: a fallback entry with its count of attempts -> next attempt, server ms */
  readonly retries: string;
  /** the same for this channel's queue; absent: `retries` */
  retriesOf(channel?: string): string;
  /** stream of messages whose fallback failed for good */
  deadLetters(cause: DeadLetterCause): string;
  /** list: what the fallback channels tried for a message, oldest first, as JSON texts */
  attempts(messageId: string): string;
  /** stream, bounded: devices that were forgotten or quarantined, or kept although a provider called them invalid */
  readonly invalidations: string;
  /** set: the user's devices that have this message already, while others are still to be tried */
  deviceSends(messageId: string): string;
  /** hash: collapse key -> the user's messages with it in the inbox, see scripts/includes/messages/collapse-messages.lua */
  collapsed(userId: string): string;
  /** string with a TTL: the attempt in which a fallback channel is being asked to take this message */
  sending(messageId: string): string;
  /**
   * string: which of a user's notifications with one collapse key is the newest, see fallback/take-collapse-turn.lua
   */
  collapseTurn(userId: string, keyHash: string): string;
  /** prefix of the names of the nodes' channels for this partition */
  readonly channel: string;
  /** channel of every node, for what concerns all sockets, such as a revocation; see protocol/node-messages.ts */
  readonly control: string;
  /**
   * string: when all tokens of a user were last revoked, server ms; each revocation raises it; absent: never. A token
   * carries this value from when it was made as its generation. A token of a lower generation than the present one is
   * revoked.
   */
  tokenGeneration(userId: string): string;
  /** string with a TTL: this session of the user, and all tokens made for it, are revoked */
  revokedSession(userId: string, sessionId: string): string;
  /** string with a TTL: this token is revoked; a token's id does not name its user, so each partition has one */
  revokedToken(jti: string): string;
  /** hash: session id -> its refresh token's hash and more, see auth/open-session.lua */
  sessions(userId: string): string;
  /**
   * hash: seq epoch acked generation keepUntil nextExpiry ackedAt ackedAtWake nudged nudgedAt offered offeredBy
   * unheardAt graceFrom spared received ended slow expiryLookFrom endsWrittenAt kept seenAt keptOn recalls takenOut
   */
  user(userId: string): string;
  /** stream whose ids are `seq-0` */
  inbox(userId: string): string;
  /** sorted set: `connectTime/node/connection/platform` -> lease end, server ms */
  routes(userId: string): string;
  /** string with a short life: how often the user connected lately, see scripts/includes/messages/take-one */
  connects(userId: string): string;
  /** string, see protocol/message-record.ts */
  record(messageId: string): string;
  /** hash: device id -> see redis/device-entry.ts */
  devices(userId: string): string;
  /** hash: a WeChat app's access token, and who may fetch the next one; see wechat/take-wechat-token.lua */
  wechatToken(appid: string): string;
  /** hash: device TAB template -> when the device that refuses it was registered */
  wechatRefusals(userId: string): string;
  /** string with a TTL: when a send of this message to WeChat first had no answer, ms */
  wechatUnanswered(messageId: string): string;
  /**
   * sorted set: a message that waits for its time, with its recipient -> that time, server ms; see
   * scripts/includes/messages/scheduled-record.lua
   */
  readonly scheduled: string;
  /** stream, bounded: what the message archive could not be told yet, see spool/archive-spool.ts */
  readonly archiveSpool: string;
  /**
   * hash: id -> acceptedAt TAB recipient, of messages that were re-driven and not yet compared with the archive's
   * tombstones
   */
  readonly archiveDriven: string;
  /** sorted set: those of one recipient. @param recipient a user, or a topic as `recipientOfTopic` writes it */
  schedulesOf(recipient: string): string;
  /** hash: epoch offset generation previous previousOffset bytes keepMs, see scripts/includes/messages/topic-log.lua */
  topic(name: string): string;
  /** stream whose ids are `offset-0` */
  topicLog(name: string): string;
  /** prefix of the names of the topics' channels, see protocol/topics/topic-messages.ts */
  readonly topicChannel: string;
  /** hash: topic -> since when all connections of the user have it, server ms */
  keptTopics(userId: string): string;
  /** sorted set: who is in a topic, all with the same score, so in the order of their names */
  presenceUsers(topic: string): string;
  /** hash: user -> connections holders since; "" -> all connections; see scripts/includes/presence/presence-counts.lua */
  presenceCounts(topic: string): string;
  /** hash: user -> connections, of those whom one holder reported; see presence/report-presence.ts */
  presenceOf(holder: string, topic: string): string;
  /** set: the topics in which a holder reported anybody */
  presenceTopics(holder: string): string;
  /** sorted set: holder -> lease end, server ms */
  readonly presenceLeases: string;
  /** hash: node -> the number of its holder, version, generation, leaseMs */
  readonly presenceNodes: string;
  /** stream, bounded: what senders are told, see scripts/includes/events/event-log.lua */
  readonly events: string;
  /** hash: generation marks trimmed version, see scripts/includes/events/event-log.lua */
  readonly eventLog: string;
  /** sorted set: user who is online -> next look, server ms; kept only where EVENTS names such an event */
  readonly online: string;
  /** string, JSON: how far a webhook has got in this partition, see webhooks/webhook-progress.ts */
  webhook(webhookId: string): string;
}

export function partitionKeys(partition: number): PartitionKeys {
  const tag = `petrel:{p${partition}}:`;
  return Object.freeze({
    partition,
    prefix: tag,
    owner: `${tag}owner`,
    generation: `${tag}generation`,
    ready: `${tag}ready`,
    due: `${tag}due`,
    fallback: (priority: Priority, channel?: string) =>
      channel === undefined ? `${tag}fallback:${priority}` : `${tag}fallback:${priority}:${channel}`,
    retries: `${tag}retries`,
    retriesOf: (channel?: string) => (channel === undefined ? `${tag}retries` : `${tag}retries:${channel}`),
    deadLetters: (cause: DeadLetterCause) => `${tag}dead-letters:${cause}`,
    attempts: (messageId: string) => `${tag}attempts:${messageId}`,
    invalidations: `${tag}invalidations`,
    deviceSends: (messageId: string) => `${tag}device-sends:${messageId}`,
    collapsed: (userId: string) => `${tag}collapsed:${userId}`,
    sending: (messageId: string) => `${tag}sending:${messageId}`,
    collapseTurn: (userId: string, keyHash: string) => `${tag}collapse-turn:${keyHash}:${userId}`,
    channel: `${tag}node:`,
    control: `${tag}control`,
    tokenGeneration: (userId: string) => `${tag}token-generation:${userId}`,
    revokedSession: (userId: string, sessionId: string) => `${tag}revoked-session:${sessionId}:${userId}`,
    revokedToken: (jti: string) => `${tag}revoked-token:${jti}`,
    sessions: (userId: string) => `${tag}sessions:${userId}`,
    user: (userId: string) => `${tag}user:${userId}`,
    inbox: (userId: string) => `${tag}inbox:${userId}`,
    routes: (userId: string) => `${tag}routes:${userId}`,
    connects: (userId: string) => `${tag}connect-ring:${userId}`,
    record: (messageId: string) => `${tag}record:${messageId}`,
    devices: (userId: string) => `${tag}devices:${userId}`,
    wechatToken: (appid: string) => `${tag}wechat-token:${appid}`,
    wechatRefusals: (userId: string) => `${tag}wechat-refusals:${userId}`,
    wechatUnanswered: (messageId: string) => `${tag}wechat-unanswered:${messageId}`,
    scheduled: `${tag}scheduled`,
    archiveSpool: `${tag}archive-spool`,
    archiveDriven: `${tag}archive-driven`,
    schedulesOf: (recipient: string) => `${tag}schedules:${recipient}`,
    topic: (name: string) => `${tag}topic:${name}`,
    topicLog: (name: string) => `${tag}topic-log:${name}`,
    topicChannel: `${tag}topic-channel:`,
    keptTopics: (userId: string) => `${tag}kept-topics:${userId}`,
    presenceUsers: (topic: string) => `${tag}presence-users:${topic}`,
    presenceCounts: (topic: string) => `${tag}presence-counts:${topic}`,
    presenceOf: (holder: string, topic: string) => `${tag}presence-of:${holder}:${topic}`,
    presenceTopics: (holder: string) => `${tag}presence-topics:${holder}`,
    presenceLeases: `${tag}presence-leases`,
    presenceNodes: `${tag}presence-nodes`,
    events: `${tag}events`,
    eventLog: `${tag}event-log`,
    online: `${tag}online`,
    webhook: (webhookId: string) => `${tag}webhook:${webhookId}`,
  });
}

/** The message id in the name of a record's key. */
export function idOfRecordKey(keys: PartitionKeys, name: string): string | undefined {
  const prefix = keys.record("");
  return name.startsWith(prefix) ? name.slice(prefix.length) : undefined;
}

/** Whether this is a collapse turn of the user. The user's id alone is not enough to build such a name. */
export function isCollapseTurnOf(keys: PartitionKeys, name: string, userId: string): boolean {
  const prefix = keys.collapseTurn("", "").slice(0, -1);
  // The hash before the user id holds no colon; the user id may.
  return name.startsWith(prefix) && name.slice(name.indexOf(":", prefix.length) + 1) === userId;
}

/** The keys of all partitions, by number. */
export function allPartitionKeys(partitionCount: number): readonly PartitionKeys[] {
  return Object.freeze(Array.from({ length: partitionCount }, (_, partition) => partitionKeys(partition)));
}

/** Keys that belong to no partition. Each is used alone, except those of the audit log. */
export const clusterKeys = Object.freeze({
  /** string: the partition count this data was laid out with */
  partitionCount: "petrel:partition-count",
  /** sorted set: dispatcher -> lease end, server ms */
  dispatchers: "petrel:dispatchers",
  /** string with a short TTL: many of this app's device tokens were called bad within a short time */
  apnsSpike: (environment: string, topic: string) => `petrel:apns-spike:${environment}:${topic}`,
  /** stream, bounded: who did what, see redis/audit-log.ts */
  audit: "petrel:audit",
  /** list, in the slot of `audit`: the ids of an actor's entries there, oldest first */
  auditShare: (actor: string) => `petrel:audit-share:{petrel:audit}:${actor}`,
  /** hash, in a slot of its own: what push nodes say of themselves, and what was asked of them; see nodes/report-node.lua */
  nodes: "petrel:nodes",
  /** hash: fallback channel -> who paused it and when, JSON; see fallback/paused-channels-store.ts */
  pausedChannels: "petrel:paused-channels",
  /** sorted set, in a slot of its own: a dispatcher that only sends -> lease end, server ms */
  senders: "petrel:senders",
  /** hash: dispatcher -> the paused channels that it has confirmed */
  confirmedPauses: "petrel:pauses-confirmed",
  /** string with a short TTL: this node is alive */
  node: (nodeId: string) => `petrel:node:${nodeId}`,
  /** hash: push node -> `connections joinedAt at`, see nodes/report-load.lua */
  nodeLoads: "petrel:node-loads",
  /** string, in a slot of its own: what was taken from a limit in its last window, see limits/take-from-window.lua */
  limitWindow: (limit: string, windowMs: number, key: string) => `petrel:limit:${limit}:${windowMs}:${key}`,
  /** string with a short TTL, JSON: the token that a ticket stands for, under the ticket's SHA-256 */
  ticket: (ticketHash: string) => `petrel:ticket:${ticketHash}`,
  /** hash: webhook's id -> JSON, see webhooks/webhook-record.ts; "version" -> grows with each change */
  webhooks: "petrel:webhooks",
  /** stream, bounded, in a slot of its own: what was tried for a webhook last */
  webhookAttempts: (webhookId: string) => `petrel:webhook-attempts:${webhookId}`,
  /** string `user TAB claim`, in a slot of its own: the one user who owns this device */
  deviceOwner: (deviceId: string) => `petrel:device-token:${deviceId}`,
});
