// collect/prepare-messages, push-node/topics -> here -> topics/publish-topic.lua: publishes to topics in batches, one
// script call per partition.
// Guarantees: a topic has one order, whoever publishes; one caller's messages to one topic keep theirs. A batch holds
// at most 200 messages or 256 KiB. With ACCEPT_DURABILITY above "memory", every answer waits for the confirmation that
// follows its call, even for a duplicate.
import { randomBytes } from "node:crypto";
import {
  decodeMessageRecord,
  encodeRecordTail,
  type MessageRecord,
} from "../../protocol/messages/stored-message.js";
import { encodeTopicBody, type TopicMessage } from "../../protocol/topics/topic-messages.js";
import { recipientOfTopic } from "../../protocol/topics/topic-name.js";
import { splitBySize } from "../accept/split-by-size.js";
import { type BatchCall, type PendingRequest, TurnBatches } from "../accept/turn-batches.js";
import type { ConfirmOptions } from "../accept/confirm-by-server.js";
import { DEFAULT_RECORD_KEEP_MS } from "../inbox/keep-records.js";
import type { PartitionKeys } from "../keys.js";

/** How much of a topic is kept, up to whichever bound is reached first. */
export interface TopicHistory {
  /** Messages; 0 for none. */
  readonly size: number;
  readonly ageMs: number;
  readonly bytes: number;
}

/** A validated message with its id. */
export interface TopicMessageToPublish extends Pick<TopicMessage, "id" | "from" | "data" | "trace"> {
  readonly topic: string;
  readonly partition: number;
  readonly ttlMs: number;
  readonly history: TopicHistory;
  /** Whether the message archive is the topic's history; then its numbering must last as long. */
  readonly isArchived?: boolean;
  /** Identifies a retry; absent if the message's state is never queried. */
  readonly record?: {
    readonly fingerprint: string;
    /** Identifies this attempt of the request; our own retries keep it. */
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
  /** How long the archive keeps a message. */
  readonly archiveKeepMs?: number;
}

/** How long a topic's hash, and so its epoch, outlives its last message; each look by a listener extends it. */
export const TOPIC_KEEP_MS = 2 * 24 * 60 * 60 * 1000;

export class TopicPublisher {
  readonly #options: TopicPublisherOptions;
  readonly #batches: TurnBatches<TopicMessageToPublish, PublishResult>;

  constructor(options: TopicPublisherOptions) {
    this.#options = options;
    this.#batches = new TurnBatches(options, {
      split: (items) => splitBySize(items, ({ message }) => Buffer.byteLength(message.data)),
      call: (keys, batch) => this.#callFor(keys, batch),
    });
  }

  /**
   * @throws what ioredis throws if the answer is missing: the message may or may not be published; sending it again is
   * safe if it has a record
   * @throws Error if the caller gave up before the message could be sent: nothing was published
   * @param request the message's caller: once it is over, the message is no longer sent
   */
  publish(message: TopicMessageToPublish, request?: PendingRequest): Promise<PublishResult> {
    return this.#batches.add(message, request);
  }

  /** Resolves once nothing waits and nothing is in progress. */
  drained(): Promise<void> {
    return this.#batches.drained();
  }

  #callFor(
    keys: PartitionKeys,
    batch: readonly { readonly message: TopicMessageToPublish }[],
  ): BatchCall<PublishResult> {
    const { recordKeepMs = DEFAULT_RECORD_KEEP_MS, archiveKeepMs = 0 } = this.#options;
    // Applies to all topics of the call: keeping a small hash for longer than needed is cheap.
    const isArchived = batch.some(({ message }) => message.isArchived === true);
    const keyList: [string, ...string[]] = [keys.generation];
    const args: (string | number)[] = [
      randomBytes(6).toString("base64url"),
      keys.topicChannel,
      recordKeepMs,
      isArchived ? Math.max(TOPIC_KEEP_MS, archiveKeepMs) : TOPIC_KEEP_MS,
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
    return {
      script: "publish-topic.v2",
      keys: keyList,
      args,
      read: ([head = "", ...lines]) => {
        const atMs = Number(head.slice("now ".length));
        return batch.map((_, i) => decodeLine(lines[i] ?? "", atMs));
      },
    };
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
