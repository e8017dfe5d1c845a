// collect/prepare-messages, push-node/topics -> here -> topics/publish-topic.lua: publishes to topics in batches, one
// script call a partition.
// Guarantees: a topic has one order, whoever publishes; one caller's messages to one topic keep theirs. A batch holds at
// most 200 messages or 256 KiB. With ACCEPT_DURABILITY above "memory", no answer is given before the confirmation that
// follows its call, not even a duplicate's.
import { randomBytes } from "node:crypto";
import {
  decodeMessageRecord,
  encodeRecordTail,
  type MessageRecord,
} from "../../protocol/messages/stored-message.js";
import { encodeTopicBody, type TopicMessage } from "../../protocol/topics/topic-messages.js";
import { recipientOfTopic } from "../../protocol/topics/topic-name.js";
import type { PendingRequest } from "../accept/accept-batch.js";
import { callPartitions } from "../accept/call-partitions.js";
import type { ConfirmOptions } from "../accept/confirm-by-server.js";
import { MasterBatchers } from "../connection/master-batchers.js";
import { DEFAULT_RECORD_KEEP_MS } from "../inbox/keep-records.js";
import type { PartitionKeys } from "../keys.js";

/** How much of a topic is kept: whatever bound comes first. */
export interface TopicHistory {
  /** Messages; 0 for none. */
  readonly size: number;
  readonly ageMs: number;
  readonly bytes: number;
}

/** A message that was checked and has its id. */
export interface TopicMessageToPublish extends Pick<TopicMessage, "id" | "from" | "data" | "trace"> {
  readonly topic: string;
  readonly partition: number;
  readonly ttlMs: number;
  readonly history: TopicHistory;
  /** What tells a repetition from another message; absent where nobody asks for the message's state. */
  readonly record?: {
    readonly fingerprint: string;
    /** Names this attempt of the request; unchanged when we send it again. */
    readonly attempt: string;
  };
}

export type PublishResult =
  | { readonly outcome: "published"; readonly offset: number; readonly epoch: string; readonly atMs: number }
  /** A record with this id exists; the caller decides whether it is the same message. */
  | { readonly outcome: "exists"; readonly record: MessageRecord };

export interface TopicPublisherOptions extends ConfirmOptions {
  readonly maxInFlight: number;
  /** 25 hours by default. */
  readonly recordKeepMs?: number;
}

interface Waiting {
  readonly message: TopicMessageToPublish;
  readonly request: PendingRequest | undefined;
  readonly resolve: (result: PublishResult) => void;
  readonly reject: (error: unknown) => void;
}

/** How long a topic's hash, and so its epoch, outlives its last message; each look of a listener extends it. */
export const TOPIC_KEEP_MS = 2 * 24 * 60 * 60 * 1000;

const MAX_ENTRIES = 200;
const MAX_BYTES = 256 * 1024;
const MAX_PER_FLUSH = 1_000;

export class TopicPublisher {
  readonly #options: TopicPublisherOptions;
  readonly #batchers: MasterBatchers<Waiting>;

  constructor(options: TopicPublisherOptions) {
    this.#options = options;
    this.#batchers = new MasterBatchers<Waiting>({
      redis: options.scripts.redis,
      partitionOf: ({ message }) => this.#keysOf(message.partition),
      maxInFlight: options.maxInFlight,
      maxItems: MAX_PER_FLUSH,
      isOver: ({ request }) => request?.isOver === true,
      onDropped: ({ reject }) => reject(new Error("its request was answered before it could be sent")),
      flush: (waiting) =>
        callPartitions(options, waiting, {
          partitionOf: ({ message }) => message.partition,
          split: splitIntoBatches,
          call: (partition, batch, confirmed) => this.#call(partition, batch, confirmed),
        }),
    });
  }

  /**
   * @throws what ioredis throws where the answer is missing: the message may be published or not; sending it again is
   * safe where it has a record
   * @throws Error where the caller gave up before the message could be sent: nothing was published
   * @param request the message's caller: once it is over, the message is not sent any more
   */
  publish(message: TopicMessageToPublish, request?: PendingRequest): Promise<PublishResult> {
    return new Promise((resolve, reject) => this.#batchers.add({ message, request, resolve, reject }));
  }

  /** Resolves when nothing waits and nothing is under way. */
  drained(): Promise<void> {
    return this.#batchers.drained();
  }

  #keysOf(partition: number): PartitionKeys {
    const keys = this.#options.partitions[partition];
    if (keys === undefined) throw new Error(`no partition ${partition}`);
    return keys;
  }

  async #call(
    partition: number,
    batch: readonly Waiting[],
    confirmed: () => Promise<void> | undefined,
  ): Promise<void> {
    const { scripts, confirm, recordKeepMs = DEFAULT_RECORD_KEEP_MS } = this.#options;
    try {
      const keys = this.#keysOf(partition);
      const keyList: [string, ...string[]] = [keys.generation];
      const args: (string | number)[] = [
        randomBytes(6).toString("base64url"),
        keys.topicChannel,
        recordKeepMs,
        TOPIC_KEEP_MS,
      ];
      for (const { message } of batch) {
        const { topic, id, ttlMs, history, record } = message;
        keyList.push(keys.topic(topic), keys.topicLog(topic), keys.record(id));
        args.push(topic, ttlMs, history.size, history.ageMs, history.bytes);
        args.push(
          record === undefined
            ? ""
            : encodeRecordTail(recipientOfTopic(topic), record.fingerprint, record.attempt),
          encodeTopicBody(message),
        );
      }
      // Sent again, a call would run behind its confirmation: so it is sent once only.
      const answer =
        confirm === undefined
          ? scripts.run("publish-topic.v2", keyList, args)
          : scripts.runOnce("publish-topic.v2", keyList, args);
      const lines = (await answer).split("\n");
      if (confirm !== undefined) await confirmed();
      const atMs = Number(lines[0]?.slice("now ".length));
      for (const [i, { resolve }] of batch.entries()) resolve(decodeLine(lines[i + 1] ?? "", atMs));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}

function decodeLine(line: string, atMs: number): PublishResult {
  switch (line.charAt(0)) {
    case "+": {
      const [offset = "", epoch = ""] = line.slice(1).split("\t");
      return { outcome: "published", offset: Number(offset), epoch, atMs };
    }
    case "=":
      return { outcome: "exists", record: decodeMessageRecord(line.slice(1)) };
    default:
      throw new Error(`publish-topic answered ${JSON.stringify(line)}`);
  }
}

function splitIntoBatches(messages: readonly Waiting[]): Waiting[][] {
  const batches: Waiting[][] = [];
  let batch: Waiting[] = [];
  let bytes = 0;
  for (const one of messages) {
    const size = Buffer.byteLength(one.message.data);
    if (batch.length >= MAX_ENTRIES || (batch.length > 0 && bytes + size > MAX_BYTES)) {
      batches.push(batch);
      [batch, bytes] = [[], 0];
    }
    batch.push(one);
    bytes += size;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}
