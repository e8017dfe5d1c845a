// queued-message -> here -> batch-sender: unsettled messages.
// Guarantees: bounded by recipients and bytes. A message is not taken out while an earlier one for any of its
// recipients is out, so each recipient's messages are stored in the order of the calls.
import { MAX_BATCH_BYTES, MAX_RECIPIENTS, type QueuedMessage } from "./queued-message.js";

export interface QueueBounds {
  readonly maxQueued: number;
  readonly maxQueuedBytes: number;
}

/** The most blocked recipients that one pass over the queue skips. */
const MAX_PASSED = 8_000;
/** `{"messages":[]}` */
const ENVELOPE_BYTES = 16;

export class SendQueue {
  readonly #bounds: QueueBounds;
  /** All messages by age: those that wait, and those that are out. */
  readonly #held = new Set<QueuedMessage>();
  readonly #waiting = new Set<QueuedMessage>();
  /** Recipient -> how many of their messages are out. */
  readonly #out = new Map<string, number>();
  readonly #heldSize = { recipients: 0, bytes: 0 };
  readonly #waitingSize = { recipients: 0, bytes: 0 };

  constructor(bounds: QueueBounds) {
    this.#bounds = bounds;
  }

  get hasWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  get oldest(): QueuedMessage | undefined {
    for (const message of this.#held) return message;
    return undefined;
  }

  /** A message larger than the whole limit is accepted if the queue is empty. */
  hasRoomFor({ recipients, bytes }: Pick<QueuedMessage, "recipients" | "bytes">): boolean {
    if (this.#held.size === 0) return true;
    return (
      this.#heldSize.recipients + recipients.length <= this.#bounds.maxQueued &&
      this.#heldSize.bytes + bytes <= this.#bounds.maxQueuedBytes
    );
  }

  /** Half empty: time to accept more. */
  get isRelaxed(): boolean {
    const { maxQueued, maxQueuedBytes } = this.#bounds;
    return this.#heldSize.recipients <= maxQueued / 2 && this.#heldSize.bytes <= maxQueuedBytes / 2;
  }

  /** As much is waiting as a batch can hold. */
  get fillsBatch(): boolean {
    return this.#waitingSize.recipients >= MAX_RECIPIENTS || this.#waitingSize.bytes >= MAX_BATCH_BYTES;
  }

  add(message: QueuedMessage): void {
    this.#held.add(message);
    this.#waiting.add(message);
    for (const size of [this.#heldSize, this.#waitingSize]) count(size, message, 1);
  }

  /** Takes out the next batch. Empty if every message has to wait. */
  take(): QueuedMessage[] {
    const batch: QueuedMessage[] = [];
    const passed = new Set<string>();
    let recipients = 0;
    let bytes = ENVELOPE_BYTES;
    for (const message of this.#waiting) {
      if (message.recipients.some((one) => this.#out.has(one) || passed.has(one))) {
        for (const one of message.recipients) passed.add(one);
        if (passed.size > MAX_PASSED) break;
        continue;
      }
      // A list of nobody, which the server refuses, counts too.
      recipients += Math.max(1, message.recipients.length);
      bytes += message.bytes + 1;
      if (batch.length > 0 && (recipients > MAX_RECIPIENTS || bytes > MAX_BATCH_BYTES)) break;
      batch.push(message);
    }
    for (const message of batch) {
      this.#waiting.delete(message);
      count(this.#waitingSize, message, -1);
      for (const one of message.recipients) this.#out.set(one, (this.#out.get(one) ?? 0) + 1);
    }
    return batch;
  }

  /** The message is settled, in whatever state it was. */
  end(message: QueuedMessage): void {
    if (!this.#held.delete(message)) return;
    count(this.#heldSize, message, -1);
    if (this.#waiting.delete(message)) {
      count(this.#waitingSize, message, -1);
      return;
    }
    for (const one of message.recipients) {
      const left = (this.#out.get(one) ?? 0) - 1;
      if (left > 0) this.#out.set(one, left);
      else this.#out.delete(one);
    }
  }
}

function count(
  size: { recipients: number; bytes: number },
  { recipients, bytes }: QueuedMessage,
  sign: 1 | -1,
): void {
  size.recipients += sign * recipients.length;
  size.bytes += sign * bytes;
}
