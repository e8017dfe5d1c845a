// collect/message-routes, dispatch/fall-back -> here: what became of a message.
// Guarantees: a final state, once reported, never changes. The record is read after the cursor, and the end of an
// expired message is written before it is reported as expired.
import { decodeAttempt, type FallbackAttempt } from "../../protocol/fallback/fallback-attempt.js";
import {
  decodeMessageRecord,
  lineageOf,
  type MessageRecord,
  type RecordedEnd,
} from "../../protocol/messages/stored-message.js";
import { NO_SEQ } from "../../protocol/messages/scheduled-message.js";
import { decodeTopicMessage } from "../../protocol/topics/topic-messages.js";
import { topicOfRecipient } from "../../protocol/topics/topic-name.js";
import type { Redis } from "../connection/connect.js";
import { expireMessages } from "./expire-messages.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { readServerTimeMs } from "../connection/server-time.js";

export type MessageState =
  | "scheduled"
  | "queued"
  | "delivered"
  | "expired"
  | "cancelled"
  | "pushed"
  | "failed";

/** A message for one user. */
export interface FoundUserMessage {
  readonly record: MessageRecord;
  readonly state: Exclude<MessageState, "scheduled">;
  /** Its user still has this history, and has not been erased since. */
  readonly isOfUser: boolean;
  /**
   * When the state was reached, ms. For `delivered`, the time of the user's last acknowledgement: exact if that named
   * this message, otherwise an upper bound (see `stateAtIsUpperBound`).
   */
  readonly stateAtMs: number | undefined;
  readonly stateAtIsUpperBound: boolean;
}

/** A message without a number: it waits for its time, or ended before it got one. */
export interface UnnumberedMessage {
  readonly record: MessageRecord;
  readonly state: Exclude<MessageState, "queued" | "delivered" | "pushed">;
  readonly isOfUser: false;
}

/** A message for a topic or for all that was published; its state is final. */
export interface PublishedMessage {
  /** Its `seq` is the message's offset. */
  readonly record: MessageRecord;
  readonly state: "published";
  /** `$all` for a broadcast. */
  readonly topic: string;
  /** Later than its acceptance where it was scheduled; undefined if its topic no longer keeps it, or nobody asked. */
  readonly publishedAtMs?: number;
  readonly isOfUser: false;
}

export type FoundMessage = FoundUserMessage | PublishedMessage | UnnumberedMessage;

/** It waits for its time, or ended before it got a number. */
export function isUnnumbered(found: FoundMessage): found is UnnumberedMessage {
  return found.record.seq === NO_SEQ;
}

/** The record has the time of its acceptance alone. */
async function readPublishedAt(
  redis: Redis,
  log: string,
  { seq, epoch }: MessageRecord,
): Promise<number | undefined> {
  const [entry] = await redis.xrange(log, `${seq}-0`, `${seq}-0`);
  const value = entry?.[1][1];
  if (value === undefined) return undefined;
  const kept = decodeTopicMessage(seq, value);
  return kept.epoch === epoch ? kept.atMs : undefined;
}

/**
 * @param nowMs Redis's clock, if the caller knows it; otherwise Redis is asked, because a process's own clock may be
 * hours off
 * @returns undefined if there is no such message, or its record is gone
 */
export async function readMessage(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  id: string,
  nowMs?: number,
): Promise<FoundMessage | undefined> {
  const { redis } = scripts;
  const [first, serverNowMs] = await Promise.all([
    redis.get(keys.record(id)),
    nowMs ?? readServerTimeMs(redis, keys.due),
  ]);
  if (first === null) return undefined;
  const atFirst = decodeMessageRecord(first);
  const { userId, expiresAtMs, seq, epoch: epochThen } = atFirst;
  if (seq === NO_SEQ) return unnumbered(atFirst);
  const topic = topicOfRecipient(userId);
  if (topic !== undefined) {
    const publishedAtMs = await readPublishedAt(redis, keys.topicLog(topic), atFirst);
    const more = publishedAtMs === undefined ? {} : { publishedAtMs };
    return { record: atFirst, state: "published", topic, isOfUser: false, ...more };
  }
  if (expiresAtMs <= serverNowMs) {
    // The script decides by Redis's clock, and leaves acked messages alone.
    await expireMessages(scripts, keys, userId, [{ seq, epoch: epochThen, id }]);
  }
  const [cursor, recordNow] = await Promise.all([
    redis.hmget(keys.user(userId), "epoch", "acked", "ackedAt"),
    redis.get(keys.record(id)),
  ]);
  if (recordNow === null) return undefined;
  const record = decodeMessageRecord(recordNow);
  // Its user was erased meanwhile, and the id was scheduled anew.
  if (record.seq === NO_SEQ) return unnumbered(record);
  return judgeRecord(record, cursor);
}

/** `epoch`, `acked`, `ackedAt` of a user's hash, read before the record. */
export type UserCursor = readonly (string | null | undefined)[];

/** The state of a numbered message; if it has expired, its end must be written by now. */
function judgeRecord(record: MessageRecord, [epoch, acked, ackedAt]: UserCursor): FoundUserMessage {
  const isOfUser = typeof epoch === "string" && lineageOf(epoch) === lineageOf(record.epoch);
  const isAcked = isOfUser && record.seq <= Number(acked ?? 0);
  const { end } = record;
  const found = { record, isOfUser };
  if (end?.isFinal === true) return { ...found, ...ended(end) };
  if (isAcked) {
    return {
      ...found,
      state: "delivered",
      stateAtMs: typeof ackedAt === "string" ? Number(ackedAt) : undefined,
      stateAtIsUpperBound: record.seq !== Number(acked),
    };
  }
  if (end !== undefined) return { ...found, ...ended(end) };
  return { ...found, state: "queued", stateAtMs: undefined, stateAtIsUpperBound: false };
}

/**
 * The same for many messages of a partition, in a few calls.
 * @param asked their recipients, as records write them
 * @returns in order; undefined if there is no record
 */
export async function readMessages(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  asked: readonly { readonly id: string; readonly recipient: string }[],
  nowMs: number,
): Promise<(FoundMessage | undefined)[]> {
  const { redis } = scripts;
  if (asked.length === 0) return [];
  const users = [...new Set(asked.map(({ recipient }) => recipient))];
  // The cursors first: a message that ends in between reads as open, and is read again.
  const cursors = await Promise.all(
    users.map((userId) => redis.hmget(keys.user(userId), "epoch", "acked", "ackedAt")),
  );
  const cursorOf = new Map(users.map((userId, i) => [userId, cursors[i] ?? []]));
  const records = await redis.mget(...asked.map(({ id }) => keys.record(id)));
  return Promise.all(
    asked.map(async ({ id, recipient }, i) => {
      const text = records[i];
      if (typeof text !== "string") return undefined;
      const record = decodeMessageRecord(text);
      if (record.seq === NO_SEQ) return unnumbered(record);
      const topic = topicOfRecipient(record.userId);
      if (topic !== undefined) return { record, state: "published", topic, isOfUser: false };
      if (record.expiresAtMs <= nowMs) return readMessage(scripts, keys, id, nowMs);
      return judgeRecord(record, cursorOf.get(recipient) ?? []);
    }),
  );
}

function unnumbered(record: MessageRecord): UnnumberedMessage {
  const state = record.end?.state;
  return { record, state: state === undefined || state === "pushed" ? "scheduled" : state, isOfUser: false };
}

function ended({
  state,
  atMs,
}: RecordedEnd): Pick<FoundUserMessage, "state" | "stateAtMs" | "stateAtIsUpperBound"> {
  return { state, stateAtMs: atMs, stateAtIsUpperBound: false };
}

/** The attempts by fallback channels, oldest first; only the last ones if there were many. */
export async function readAttempts(
  redis: Redis,
  keys: PartitionKeys,
  id: string,
): Promise<FallbackAttempt[]> {
  const texts = await redis.lrange(keys.attempts(id), 0, -1);
  return texts.flatMap((text) => decodeAttempt(text) ?? []);
}
