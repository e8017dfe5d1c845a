// send-queue -> here -> requests/send-request: sends waiting messages in batches.
// Guarantees: a message resolves once it is stored. It rejects with `outcome: "unknown"` if an attempt may have stored
// it, and with "refused" only if none did. A retry has the idempotency key of the first attempt.
import { setTimeout as pause } from "node:timers/promises";
import { PetrelError, petrelErrorCodes } from "../petrel-error.js";
import { retryDelayMs } from "../requests/retry-delay.js";
import { mayRepeat, sendRequest, type Requester } from "../requests/send-request.js";
import { batchBody } from "./batch-body.js";
import type { Answer, QueuedMessage } from "./queued-message.js";
import { readResults } from "./read-results.js";
import type { SendQueue } from "./send-queue.js";

export interface BatchSenderOptions {
  /** How long a message lingers for others while a request is in progress. */
  readonly lingerMs: number;
  /** Concurrent requests. */
  readonly maxRequests: number;
  readonly gzipAboveBytes: number;
  readonly attemptTimeoutMs: number;
  readonly attempts: number;
}

export class BatchSender {
  readonly #requester: Requester;
  readonly #queue: SendQueue;
  readonly #options: BatchSenderOptions;
  /** A message has settled. */
  readonly #onSettled: (message: QueuedMessage) => void;
  #requests = 0;
  /** The next batch is put together when one of these fires. */
  #soon: NodeJS.Immediate | undefined;
  #later: NodeJS.Timeout | undefined;

  constructor(
    requester: Requester,
    queue: SendQueue,
    options: BatchSenderOptions,
    onSettled: (message: QueuedMessage) => void,
  ) {
    this.#requester = requester;
    this.#queue = queue;
    this.#options = options;
    this.#onSettled = onSettled;
  }

  /** Call it when a message may be waiting. */
  wake(): void {
    if (!this.#queue.hasWaiting || this.#requests >= this.#options.maxRequests) return;
    const { lingerMs } = this.#options;
    // When idle, send this turn's messages at once. While a request is in progress, linger: more will join.
    if (this.#requests === 0 || this.#queue.fillsBatch || lingerMs === 0) {
      clearTimeout(this.#later);
      this.#soon ??= setImmediate(() => this.#fill());
    } else if (this.#soon === undefined) {
      this.#later ??= setTimeout(() => this.#fill(), lingerMs);
    }
  }

  #fill(): void {
    clearTimeout(this.#later);
    this.#later = undefined;
    this.#soon = undefined;
    while (this.#requests < this.#options.maxRequests) {
      const batch = this.#queue.take();
      if (batch.length === 0) return;
      this.#requests++;
      void this.#deliver(batch).finally(() => {
        this.#requests--;
        this.wake();
      });
    }
  }

  /** Repeats the batch as a whole as long as none of it is answered. */
  async #deliver(batch: readonly QueuedMessage[]): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const open = batch.filter(({ isSettled }) => !isSettled);
      if (open.length === 0) return;
      const failure = await this.#attempt(open, attempt);
      if (failure === undefined) return;
      const [first, ...others] = open;
      if (first !== undefined && others.length > 0 && mayDivide(failure)) {
        // One of them, or their number, is too large.
        const half = Math.ceil(open.length / 2);
        await this.#deliver(open.slice(0, half));
        await this.#deliver(open.slice(half));
        return;
      }
      if (!this.#mayRepeat(failure, attempt)) {
        for (const message of open) this.#reject(message, failure);
        return;
      }
      await pause(this.#pauseMs(open, attempt, failure));
    }
  }

  /** @returns why the whole batch has to be repeated, divided or given up */
  async #attempt(open: readonly QueuedMessage[], attempt: number): Promise<PetrelError | undefined> {
    for (const message of open) message.isInFlight = true;
    try {
      const { body, isGzip } = await batchBody(open, this.#options.gzipAboveBytes);
      const path = "/v1/messages/batch";
      const answer = await sendRequest(
        this.#requester,
        { service: "collect", method: "POST", path, body, isGzip },
        this.#options.attemptTimeoutMs,
      );
      this.#settle(open, readResults(answer, open), attempt);
      return undefined;
    } catch (error) {
      const failure = asPetrelError(error);
      if (failure.outcome === "unknown") for (const message of open) message.isUnknown = true;
      return failure;
    } finally {
      for (const message of open) message.isInFlight = false;
    }
  }

  #settle(open: readonly QueuedMessage[], results: readonly (Answer | PetrelError)[], attempt: number): void {
    const again: QueuedMessage[] = [];
    let last: PetrelError | undefined;
    results.forEach((result, i) => {
      const message = open[i];
      if (message === undefined) return;
      if (!(result instanceof PetrelError)) {
        this.#resolve(message, result);
        return;
      }
      if (result.outcome === "unknown") message.isUnknown = true;
      if (!this.#mayRepeat(result, attempt)) {
        this.#reject(message, result);
        return;
      }
      again.push(message);
      if (last === undefined || (result.retryAfterMs ?? 0) > (last.retryAfterMs ?? 0)) last = result;
    });
    // Together, so that they stay in order; the others need not wait for them.
    if (last !== undefined) void this.#again(again, attempt, last);
  }

  async #again(messages: readonly QueuedMessage[], attempt: number, why: PetrelError): Promise<void> {
    await pause(this.#pauseMs(messages, attempt, why));
    const open = messages.filter(({ isSettled }) => !isSettled);
    if (open.length === 0) return;
    const failure = await this.#attempt(open, attempt + 1);
    if (failure === undefined) return;
    if (this.#mayRepeat(failure, attempt + 1)) await this.#again(open, attempt + 1, failure);
    else for (const message of open) this.#reject(message, failure);
  }

  #mayRepeat(failure: PetrelError, attempt: number): boolean {
    return mayRepeat(failure) && attempt + 1 < this.#options.attempts;
  }

  /** Messages that cannot wait this long are rejected now. */
  #pauseMs(messages: readonly QueuedMessage[], attempt: number, why: PetrelError): number {
    const delayMs = retryDelayMs(attempt, why.retryAfterMs);
    const nextMs = performance.now() + delayMs;
    const leaving = messages.filter((one) => !one.isSettled && one.deadlineMs <= nextMs);
    for (const message of leaving) this.#reject(message, why);
    return leaving.length === messages.length ? 0 : delayMs;
  }

  /** The message's time is over, in whatever state it is. */
  expire(message: QueuedMessage): void {
    if (message.isSettled) return;
    const isOpen = message.isUnknown || message.isInFlight;
    const text = isOpen
      ? "No answer came in time: it is unknown whether the message is stored."
      : "The message was not stored in time.";
    this.#reject(
      message,
      new PetrelError(isOpen ? petrelErrorCodes.noAnswer : petrelErrorCodes.notSent, text, {
        outcome: isOpen ? "unknown" : "refused",
        retryable: true,
      }),
    );
  }

  #resolve(message: QueuedMessage, answer: Answer): void {
    if (this.#end(message)) message.resolve(answer);
  }

  #reject(message: QueuedMessage, error: PetrelError): void {
    if (!this.#end(message)) return;
    const { idempotencyKey, isUnknown } = message;
    // The key was used for other content before, so ours was never stored.
    const outcome = isUnknown && error.code !== "PETREL_IDEMPOTENCY_MISMATCH" ? "unknown" : error.outcome;
    message.reject(error.with({ outcome, idempotencyKey }));
  }

  #end(message: QueuedMessage): boolean {
    if (message.isSettled) return false;
    message.isSettled = true;
    this.#onSettled(message);
    return true;
  }
}

const refusedForItsContent: ReadonlySet<string> = new Set(["PETREL_INVALID_REQUEST", "PETREL_INVALID_JSON"]);

/** Refused as a whole for its content or its size. */
function mayDivide({ code, status }: PetrelError): boolean {
  return status === 413 || refusedForItsContent.has(code);
}

function asPetrelError(error: unknown): PetrelError {
  if (error instanceof PetrelError) return error;
  return new PetrelError(petrelErrorCodes.notSent, error instanceof Error ? error.message : String(error), {
    outcome: "refused",
    retryable: false,
    cause: error,
  });
}
