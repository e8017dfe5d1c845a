// petrel -> here -> {send-queue, batch-sender}: takes messages, and sees each through to its end.
// Guarantees: every promise settles by its deadline. A full queue refuses at once. `close` resolves when all are
// settled.
import { closedError, PetrelError, petrelErrorCodes } from "../petrel-error.js";
import type { Requester } from "../requests/send-request.js";
import { BatchSender, type BatchSenderOptions } from "./batch-sender.js";
import type { Message } from "./message.js";
import { IdempotencyKeys, queueMessage, type Answer, type QueuedMessage } from "./queued-message.js";
import { SendQueue, type QueueBounds } from "./send-queue.js";

export interface MessageSenderOptions extends BatchSenderOptions, QueueBounds {
  /** From `send` to its end. */
  readonly timeoutMs: number;
}

export class MessageSender {
  readonly #keys = new IdempotencyKeys();
  readonly #queue: SendQueue;
  readonly #sender: BatchSender;
  readonly #timeoutMs: number;
  #deadline: NodeJS.Timeout | undefined;
  #waitingForRoom: (() => void)[] = [];
  #waitingForEnd: (() => void)[] = [];
  #isClosed = false;

  constructor(requester: Requester, options: MessageSenderOptions) {
    this.#timeoutMs = options.timeoutMs;
    this.#queue = new SendQueue(options);
    this.#sender = new BatchSender(requester, this.#queue, options, (message) => this.#settled(message));
  }

  send(message: Message): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw closedError();
      const deadlineMs = performance.now() + this.#timeoutMs;
      const queued = queueMessage(message, this.#keys, { resolve, reject, deadlineMs });
      if (!this.#queue.hasRoomFor(queued)) throw queueFull(queued.idempotencyKey);
      this.#queue.add(queued);
      this.#watchDeadline();
      this.#sender.wake();
    });
  }

  /** Resolves at once if there is room, otherwise when the queue is half empty. */
  ready(): Promise<void> {
    if (this.#queue.isRelaxed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waitingForRoom.push(resolve);
    });
  }

  close(): Promise<void> {
    this.#isClosed = true;
    if (this.#queue.oldest === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waitingForEnd.push(resolve);
    });
  }

  #settled(message: QueuedMessage): void {
    this.#queue.end(message);
    if (this.#waitingForRoom.length > 0 && this.#queue.isRelaxed) {
      for (const resolve of this.#waitingForRoom.splice(0)) resolve();
    }
    if (this.#queue.oldest !== undefined) return;
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
    for (const resolve of this.#waitingForEnd.splice(0)) resolve();
  }

  /** One timer, for the oldest message, because all have the same time limit. */
  #watchDeadline(): void {
    const oldest = this.#queue.oldest;
    if (this.#deadline !== undefined || oldest === undefined) return;
    const leftMs = Math.max(1, Math.ceil(oldest.deadlineMs - performance.now()));
    this.#deadline = setTimeout(() => {
      this.#deadline = undefined;
      const nowMs = performance.now();
      for (
        let one = this.#queue.oldest;
        one !== undefined && one.deadlineMs <= nowMs;
        one = this.#queue.oldest
      ) {
        this.#sender.expire(one);
      }
      this.#watchDeadline();
      // Messages that waited behind them may be sent now.
      this.#sender.wake();
    }, leftMs);
  }
}

function queueFull(idempotencyKey: string): PetrelError {
  return new PetrelError(petrelErrorCodes.queueFull, "The queue is full; await ready().", {
    outcome: "refused",
    retryable: true,
    idempotencyKey,
  });
}
