// collect/accept-with-retry -> here -> accept/accept.lua: stores messages in batches, one script call per partition.
// Guarantees: one producer's messages to one user are stored in the order they were sent. A batch holds at most 200
// messages or 256 KiB, and bounds each user's share. Calls of several partitions share a pipeline, but a master that
// does not answer delays only its own users. With ACCEPT_DURABILITY above "memory", every answer waits for the
// confirmation that follows its call, even for a duplicate.
import { groupBy } from "../../kernel/group-by.js";
import { RandomText } from "../../kernel/random-text.js";
import {
  encodeBody,
  encodeIdentity,
  NO_IDENTITY,
  priorities,
  priorityLetters,
  type DeliveryPolicy,
  type Traced,
} from "../../protocol/messages/stored-message.js";
import { type AcceptResult, readAnswer, readPlainAnswer } from "./accept-answers.js";
import { type BatchCall, type PendingRequest, TurnBatches } from "./turn-batches.js";
import type { ConfirmWrites } from "./confirm-writes.js";
import { DEFAULT_RECORD_KEEP_MS } from "../inbox/keep-records.js";
import { USER_KEEP_MS, type PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** A validated message with its id, on its way to the store. */
export interface MessageToAccept extends DeliveryPolicy, Traced {
  readonly userId: string;
  readonly partition: number;
  readonly id: string;
  readonly ttlMs: number;
  /** When it was accepted first, if Redis has lost it since; by default it is accepted now. */
  readonly acceptedAtMs?: number;
  /** NO_IDENTITY if it has no idempotency key; then nobody else can send its id. */
  readonly fingerprint: string;
  /** Identifies this attempt of the producer's request; our own retries keep it. NO_IDENTITY as above. */
  readonly attempt: string;
  /** JSON text. */
  readonly data: string;
  /** Of a user's unacknowledged messages with one key, only the newest stays in the inbox. */
  readonly collapseKey?: string | undefined;
}

export interface AcceptOptions {
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly ackTimeoutMs: number;
  /** The most unacknowledged messages per user. */
  readonly inboxCap: number;
  /** The most messages of one partition that may wait for a dispatcher. */
  readonly readyCap: number;
  /**
   * The most entries of a partition's fallback stream; beyond it, messages for immediate fallback are refused. Default
   * `readyCap`.
   */
  readonly fallbackCap?: number;
  /** How long a record is kept, see keep-records; 25 hours by default. */
  readonly recordKeepMs?: number;
  /** Who hands a message to its user's nodes: the step that stores it, or the dispatcher. */
  readonly handOver: "accept" | "dispatch";
  /** The most messages that one user may get in RECEIVE_WINDOW_MS, 10 s; 0, the default, means no limit. */
  readonly receiveLimit?: number;
  readonly maxInFlight: number;
  /** Waits until a stored message has reached what ACCEPT_DURABILITY requires; absent if Redis's memory is enough. */
  readonly confirm?: ConfirmWrites;
}

/** The window of a user's receive limit. */
export const RECEIVE_WINDOW_MS = 10_000;
/** Fewer than for other limits, because each may cost a write to the user's hash. */
export const RECEIVE_SUB_WINDOWS = 20;

/** Seeds the epochs that a call makes: 8 characters. */
const SEED_BYTES = 6;
const MAX_ENTRIES = 200;
const MAX_BYTES = 256 * 1024;
const MAX_ENTRIES_PER_USER = 64;
/** A user's count of messages is a printable character in accept-plain's arguments. */
const COUNT_OFFSET = 32;
/** UTF-8 takes at most this many bytes for one UTF-16 code unit. */
const MAX_BYTES_PER_UNIT = 3;
/** Tabs and letters between a body's parts, plus an optional trace. */
const FIELD_MARKS = 61;
interface Waiting {
  readonly message: MessageToAccept;
}

export class MessageAccepter {
  readonly #options: AcceptOptions;
  readonly #batches: TurnBatches<MessageToAccept, AcceptResult>;
  readonly #seeds = new RandomText(SEED_BYTES);

  constructor(options: AcceptOptions) {
    this.#options = options;
    this.#batches = new TurnBatches(options, {
      split: splitIntoBatches,
      call: (keys, batch) => this.#callFor(keys, batch),
    });
  }

  /** The number of messages that wait for a call. */
  get waiting(): number {
    return this.#batches.waiting;
  }

  /**
   * @throws PetrelError PETREL_UNAVAILABLE if too many messages wait for a dispatcher, or this one is for a full
   * fallback stream (nothing was stored)
   * @throws what ioredis throws if the answer is missing: the message may or may not be stored; sending the same one
   * again is safe
   * @throws Error if the caller gave up before the message could be sent: nothing was stored
   * @param request the message's caller: once it is over, the message is no longer sent
   */
  accept(message: MessageToAccept, request?: PendingRequest): Promise<AcceptResult> {
    return this.#batches.add(message, request);
  }

  #callFor(keys: PartitionKeys, batch: readonly Waiting[]): BatchCall<AcceptResult> {
    const { scripts, ackTimeoutMs, inboxCap, readyCap, handOver } = this.#options;
    const { receiveLimit = 0, fallbackCap = readyCap, recordKeepMs = DEFAULT_RECORD_KEEP_MS } = this.#options;
    const keyList: [string, ...string[]] = [keys.generation, keys.due, keys.ready];
    const args: (string | number)[] = [
      this.#seeds.next(),
      ackTimeoutMs,
      inboxCap,
      readyCap,
      keys.channel,
      handOver,
      USER_KEEP_MS,
      // (The record of a message that stays open for some minutes is prolonged when its user is looked at.)
      recordKeepMs + ackTimeoutMs,
      receiveLimit,
      RECEIVE_WINDOW_MS / RECEIVE_SUB_WINDOWS,
      RECEIVE_SUB_WINDOWS,
    ];
    // Messages with collapse keys have a script of their own, so that the others do not pay for them; and so do plain
    // ones, which are most.
    const collapses = batch.some(({ message: { collapseKey } }) => collapseKey !== undefined);
    const plainTtlMs = collapses ? undefined : ttlOfPlain(batch);
    if (plainTtlMs !== undefined) {
      args.push(plainTtlMs);
      const counts = addPlain(keys, batch, keyList, args);
      return {
        script: "accept-plain.v2",
        keys: keyList,
        args,
        read: (lines) => readPlainAnswer(lines, counts),
      };
    }
    keyList.push(...priorities.map((priority) => keys.fallback(priority)));
    args.push(fallbackCap);
    if (collapses) {
      keyList.push(keys.events, keys.eventLog);
      args.push(scripts.events.argument("message.expired"));
    }
    for (const { message } of batch) {
      const { userId, id, fingerprint, attempt, priority, collapseKey = "" } = message;
      keyList.push(keys.user(userId), keys.inbox(userId), keys.routes(userId), keys.record(id));
      args.push(encodeBody(message));
      const always = goesAtOnce(message) ? priorityLetters[priority] : "";
      args.push(encodeTtl(message), encodeIdentity(fingerprint, attempt), always);
      if (!collapses) continue;
      keyList.push(keys.collapsed(userId));
      args.push(collapseKey);
    }
    return {
      script: collapses ? "accept-collapsing.v3" : "accept.v6",
      keys: keyList,
      args,
      read: (lines) => {
        if (collapses) scripts.ends.count("expired", countCollapsed(lines));
        return readAnswer(lines, batch.length);
      },
    };
  }
}

/** How many older messages ended: accept-collapsing reports it for each stored message. */
function countCollapsed(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + (line.startsWith("+") ? Number(line.split("\t")[2]) : 0), 0);
}

/** The TTL that all messages share, if the script needs nothing else besides their text. */
function ttlOfPlain(batch: readonly Waiting[]): number | undefined {
  const ttlMs = batch[0]?.message.ttlMs;
  const arePlain = batch.every(
    ({ message }) =>
      message.ttlMs === ttlMs &&
      message.fingerprint === NO_IDENTITY &&
      message.attempt === NO_IDENTITY &&
      message.acceptedAtMs === undefined &&
      !goesAtOnce(message),
  );
  return arePlain ? ttlMs : undefined;
}

/**
 * Adds what accept-plain needs for each message.
 * @param batch each user's messages are side by side, at most MAX_ENTRIES_PER_USER
 * @returns how many there are for each user, in order
 */
function addPlain(
  keys: PartitionKeys,
  batch: readonly Waiting[],
  keyList: string[],
  args: (string | number)[],
): number[] {
  const counts: number[] = [];
  const countsAt = args.push("") - 1;
  let ofUser: string | undefined;
  let count = 0;
  for (const { message } of batch) {
    const { userId, id } = message;
    if (userId !== ofUser) {
      if (ofUser !== undefined) counts.push(count);
      [ofUser, count] = [userId, 0];
      keyList.push(keys.user(userId), keys.inbox(userId), keys.routes(userId));
    }
    count++;
    keyList.push(keys.record(id));
    args.push(encodeBody(message));
  }
  counts.push(count);
  args[countsAt] = String.fromCharCode(...counts.map((count) => COUNT_OFFSET + count));
  return counts;
}

/** A TTL, with the time of acceptance behind it if that was earlier. */
export function encodeTtl({ ttlMs, acceptedAtMs }: Pick<MessageToAccept, "ttlMs" | "acceptedAtMs">): string {
  return acceptedAtMs === undefined ? String(ttlMs) : `${ttlMs} ${acceptedAtMs}`;
}

function goesAtOnce({ fallback, notification }: MessageToAccept): boolean {
  return fallback === "always" && notification !== "";
}

function sideBySide<Item extends Waiting>(batch: readonly Item[]): Item[] {
  return [...groupBy(batch, ({ message }) => message.userId).values()].flat();
}

/** Keeps each user's order, side by side; a user beyond their share of a batch continues in the next. */
function splitIntoBatches<Item extends Waiting>(messages: readonly Item[]): Item[][] {
  const batches: Item[][] = [];
  const sizeOf = mayExceed(messages, MAX_BYTES) ? bytesOf : () => 0;
  let rest = messages;
  while (rest.length > 0) {
    const batch: Item[] = [];
    const later: Item[] = [];
    const perUser = new Map<string, number>();
    let bytes = 0;
    let repeats = false;
    for (const one of rest) {
      const { userId } = one.message;
      const ofUser = perUser.get(userId) ?? 0;
      const size = sizeOf(one);
      const isFull = batch.length >= MAX_ENTRIES || (batch.length > 0 && bytes + size > MAX_BYTES);
      if (isFull || ofUser >= MAX_ENTRIES_PER_USER) {
        // Once one message of a user is deferred, all later ones are too.
        perUser.set(userId, MAX_ENTRIES_PER_USER);
        later.push(one);
        continue;
      }
      perUser.set(userId, ofUser + 1);
      repeats ||= ofUser > 0;
      bytes += size;
      batch.push(one);
    }
    batches.push(repeats ? sideBySide(batch) : batch);
    rest = later;
  }
  return batches;
}

/** Whether messages could take more bytes. Mostly they are far from it, and need not be measured one by one. */
function mayExceed(messages: readonly Waiting[], bytes: number): boolean {
  let atMost = 0;
  for (const { message } of messages) {
    const { id, data, notification } = message;
    atMost += (data.length + notification.length) * MAX_BYTES_PER_UNIT + id.length + FIELD_MARKS;
  }
  return atMost > bytes;
}

function bytesOf({ message: { id, data, notification } }: Waiting): number {
  return Buffer.byteLength(data) + Buffer.byteLength(notification) + id.length + FIELD_MARKS;
}
