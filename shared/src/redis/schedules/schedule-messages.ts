// collect/store-message -> here -> schedules/schedule.lua: stores messages until their time, in batches, one script
// call per partition.
// Guarantees: a recipient's messages for one time go by priority, and those of one priority in the order they were
// sent. A bounded number waits for each recipient. A batch holds at most 200 messages or 256 KiB. With
// ACCEPT_DURABILITY above "memory", every answer waits for the confirmation that follows its call, even for a
// duplicate.
import { PetrelError } from "../../kernel/errors.js";
import {
  decodeMessageRecord,
  encodeBody,
  encodeRecordTail,
  type MessageRecord,
} from "../../protocol/messages/stored-message.js";
import { priorityShiftUs } from "../../protocol/messages/scheduled-message.js";
import { encodeTopicBody } from "../../protocol/topics/topic-messages.js";
import { recipientOfTopic } from "../../protocol/topics/topic-name.js";
import { encodeTtl, type MessageToAccept } from "../accept/accept-batch.js";
import { splitBySize } from "../accept/split-by-size.js";
import { type BatchCall, type PendingRequest, TurnBatches } from "../accept/turn-batches.js";
import type { ConfirmOptions } from "../accept/confirm-by-server.js";
import type { PartitionKeys } from "../keys.js";
import type { TopicMessageToPublish } from "../topics/topic-publisher.js";

/** A topic message with a record, so that its state can be queried. */
type TopicMessageToSchedule = TopicMessageToPublish & Required<Pick<TopicMessageToPublish, "record">>;

/** A validated message with its id that waits until its time. */
export type MessageToSchedule = (MessageToAccept | TopicMessageToSchedule) & {
  /** Its TTL starts then. */
  readonly deliverAtMs: number;
  /** As a MessageToAccept's. */
  readonly acceptedAtMs?: number;
};

export type ScheduleResult =
  | { readonly outcome: "scheduled" }
  /** Its time has already come by Redis's clock: nothing was stored. */
  | { readonly outcome: "due" }
  /** As many as allowed are waiting for its recipient: nothing was stored. */
  | { readonly outcome: "full" }
  /** A record with this id exists; the caller decides whether it is the same message. */
  | { readonly outcome: "exists"; readonly record: MessageRecord };

export interface MessageSchedulerOptions extends ConfirmOptions {
  readonly maxInFlight: number;
  /** The most messages that may wait for one user or topic. */
  readonly cap: number;
}

interface Waiting {
  readonly message: MessageToSchedule;
}

export class MessageScheduler {
  readonly #batches: TurnBatches<MessageToSchedule, ScheduleResult>;

  constructor(options: MessageSchedulerOptions) {
    this.#batches = new TurnBatches(options, {
      split: (items) => splitBySize(items, ({ message }) => bytesOf(message)),
      call: (keys, batch) => callFor(keys, batch, options.cap),
    });
  }

  /**
   * @throws PetrelError PETREL_NOT_IMPLEMENTED if the partition's owners belong to a release without schedules
   * @throws what ioredis throws if the answer is missing: the message may or may not be stored; sending it again is
   * safe
   * @throws Error if the caller gave up before the message could be sent: nothing was stored
   * @param request the message's caller: once it is over, the message is no longer sent
   */
  schedule(message: MessageToSchedule, request?: PendingRequest): Promise<ScheduleResult> {
    return this.#batches.add(message, request);
  }
}

function bytesOf(message: MessageToSchedule): number {
  return Buffer.byteLength(message.data) + ("topic" in message ? 0 : Buffer.byteLength(message.notification));
}

function callFor(keys: PartitionKeys, batch: readonly Waiting[], cap: number): BatchCall<ScheduleResult> {
  const keyList: [string, ...string[]] = [keys.owner, keys.scheduled];
  const args: (string | number)[] = [cap];
  for (const { message } of batch) {
    const { id, deliverAtMs } = message;
    const recipient = "topic" in message ? recipientOfTopic(message.topic) : message.userId;
    const { fingerprint, attempt } = "topic" in message ? message.record : message;
    keyList.push(keys.record(id), keys.schedulesOf(recipient), keys.user(recipient));
    const tail = encodeRecordTail(recipient, fingerprint, attempt);
    // A topic message has no priority: its time alone decides when it is published.
    const shiftUs = priorityShiftUs("topic" in message ? "normal" : message.priority);
    args.push(id, tail, deliverAtMs, encodeTtl(message), shiftUs, encodePayload(message));
  }
  return {
    script: "schedule.v3",
    keys: keyList,
    args,
    read: (lines) => {
      if (lines[0] === "off") throw notBuilt();
      return batch.map((_, i) => decodeLine(lines[i] ?? ""));
    },
  };
}

/** What will follow the id in the body that is finally stored. */
function encodePayload(message: MessageToSchedule): string {
  const afterId = message.id.length + 1;
  if (!("topic" in message)) {
    const body = encodeBody(message).slice(afterId);
    const { collapseKey } = message;
    return collapseKey === undefined ? body : `${body.slice(0, 2)}:${collapseKey}${body.slice(2)}`;
  }
  const { size, ageMs, bytes } = message.history;
  return `${size} ${ageMs} ${bytes}\t${encodeTopicBody(message).slice(afterId)}`;
}

function notBuilt(): PetrelError {
  return new PetrelError(
    "PETREL_NOT_IMPLEMENTED",
    "body/deliverAt: a dispatcher of an earlier release owns this recipient's partition. Nothing was stored.",
    { details: { field: "body/deliverAt" } },
  );
}

function decodeLine(line: string): ScheduleResult {
  switch (line.charAt(0)) {
    case "+":
      return { outcome: "scheduled" };
    case "d":
      return { outcome: "due" };
    case "!":
      return { outcome: "full" };
    case "=":
      return { outcome: "exists", record: decodeMessageRecord(line.slice(1)) };
    default:
      throw new Error(`schedule answered ${JSON.stringify(line)}`);
  }
}
