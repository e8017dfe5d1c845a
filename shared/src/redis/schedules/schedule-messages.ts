// collect/store-message -> here -> schedules/schedule.lua: keeps messages until their time, in batches, one script call a
// partition.
// Guarantees: a recipient's messages for one time go in the order they were sent. A batch holds at most 200 messages or
// 256 KiB. With ACCEPT_DURABILITY above "memory", no answer is given before the confirmation that follows its call, not
// even a duplicate's.
import { PetrelError } from "../../kernel/errors.js";
import {
  decodeMessageRecord,
  encodeBody,
  encodeRecordTail,
  type MessageRecord,
} from "../../protocol/messages/stored-message.js";
import { encodeTopicBody } from "../../protocol/topics/topic-messages.js";
import { recipientOfTopic } from "../../protocol/topics/topic-name.js";
import type { MessageToAccept, PendingRequest } from "../accept/accept-batch.js";
import { callPartitions } from "../accept/call-partitions.js";
import type { ConfirmOptions } from "../accept/confirm-by-server.js";
import { MasterBatchers } from "../connection/master-batchers.js";
import type { PartitionKeys } from "../keys.js";
import type { TopicMessageToPublish } from "../topics/topic-publisher.js";

/** A topic's message whose state may be asked for. */
type TopicMessageToSchedule = TopicMessageToPublish & Required<Pick<TopicMessageToPublish, "record">>;

/** A message that was checked and has its id, and waits until its time. */
export type MessageToSchedule = (MessageToAccept | TopicMessageToSchedule) & {
  /** Its time to live begins then. */
  readonly deliverAtMs: number;
};

export type ScheduleResult =
  | { readonly outcome: "scheduled" }
  /** Its time has come by Redis' clock: nothing was stored. */
  | { readonly outcome: "due" }
  /** A record with this id exists; the caller decides whether it is the same message. */
  | { readonly outcome: "exists"; readonly record: MessageRecord };

export interface MessageSchedulerOptions extends ConfirmOptions {
  readonly maxInFlight: number;
}

interface Waiting {
  readonly message: MessageToSchedule;
  readonly request: PendingRequest | undefined;
  readonly resolve: (result: ScheduleResult) => void;
  readonly reject: (error: unknown) => void;
}

const MAX_ENTRIES = 200;
const MAX_BYTES = 256 * 1024;
const MAX_PER_FLUSH = 1_000;

export class MessageScheduler {
  readonly #options: MessageSchedulerOptions;
  readonly #batchers: MasterBatchers<Waiting>;

  constructor(options: MessageSchedulerOptions) {
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
   * @throws PetrelError PETREL_NOT_IMPLEMENTED where the partition's owners are of a release that has no schedules
   * @throws what ioredis throws where the answer is missing: the message may be stored or not; sending it again is safe
   * @throws Error where the caller gave up before the message could be sent: nothing was stored
   * @param request the message's caller: once it is over, the message is not sent any more
   */
  schedule(message: MessageToSchedule, request?: PendingRequest): Promise<ScheduleResult> {
    return new Promise((resolve, reject) => this.#batchers.add({ message, request, resolve, reject }));
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
    const { scripts, confirm } = this.#options;
    try {
      const keys = this.#keysOf(partition);
      const keyList: [string, ...string[]] = [keys.owner, keys.scheduled];
      const args: (string | number)[] = [];
      for (const { message } of batch) {
        const { id, deliverAtMs, ttlMs } = message;
        const recipient = "topic" in message ? recipientOfTopic(message.topic) : message.userId;
        const { fingerprint, attempt } = "topic" in message ? message.record : message;
        keyList.push(keys.record(id), keys.schedulesOf(recipient), keys.user(recipient));
        args.push(
          id,
          encodeRecordTail(recipient, fingerprint, attempt),
          deliverAtMs,
          ttlMs,
          encodePayload(message),
        );
      }
      // Sent again, a call would run behind its confirmation: so it is sent once only.
      const answer =
        confirm === undefined
          ? scripts.run("schedule.v1", keyList, args)
          : scripts.runOnce("schedule.v1", keyList, args);
      const lines = (await answer).split("\n");
      if (lines[0] === "off") throw notBuilt();
      if (confirm !== undefined) await confirmed();
      for (const [i, { resolve }] of batch.entries()) resolve(decodeLine(lines[i] ?? ""));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}

/** What follows the id in the body that is stored in the end. */
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
    case "=":
      return { outcome: "exists", record: decodeMessageRecord(line.slice(1)) };
    default:
      throw new Error(`schedule answered ${JSON.stringify(line)}`);
  }
}

function splitIntoBatches(messages: readonly Waiting[]): Waiting[][] {
  const batches: Waiting[][] = [];
  let batch: Waiting[] = [];
  let bytes = 0;
  for (const one of messages) {
    const { message } = one;
    const notification = "topic" in message ? "" : message.notification;
    const size = Buffer.byteLength(message.data) + Buffer.byteLength(notification);
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
