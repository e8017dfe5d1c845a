// petrel -> here -> send-queue: a message that is ready to be sent, and the promise that waits for it.
// Guarantees: sends the state of `data` at the call of `send`. Every message has an idempotency key. It settles once.
import { randomBytes } from "node:crypto";
import { PetrelError, petrelErrorCodes } from "../petrel-error.js";
import type { Message, Stored, StoredForList } from "./message.js";

export const MAX_RECIPIENTS = 1_000;
/** For a batch, before compression. */
export const MAX_BATCH_BYTES = 8 * 1024 * 1024;
/** `{"messages":[]}`, and room to spare. */
const ENVELOPE_BYTES = 64;
export const MAX_MESSAGE_BYTES = MAX_BATCH_BYTES - ENVELOPE_BYTES;

export type Answer = Stored | StoredForList;

export interface QueuedMessage {
  readonly json: string;
  readonly bytes: number;
  /** Its recipients, because order is kept for each: "u:alice", "t:news", "all". */
  readonly recipients: readonly string[];
  readonly idempotencyKey: string;
  /** The key was generated here, so a duplicate is a retry of this very message. */
  readonly hasOwnKey: boolean;
  /** By `performance.now()`. */
  readonly deadlineMs: number;
  /** An attempt may have stored it. */
  isUnknown: boolean;
  isInFlight: boolean;
  isSettled: boolean;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: PetrelError) => void;
}

/** Keys that are unique across senders: a random prefix, then a counter. */
export class IdempotencyKeys {
  readonly #prefix = randomBytes(12).toString("base64url");
  #next = 0;

  take(): string {
    return `${this.#prefix}.${(this.#next++).toString(36)}`;
  }
}

type Settle = Pick<QueuedMessage, "resolve" | "reject" | "deadlineMs">;

/** @throws PetrelError `PETREL_SDK_INVALID_MESSAGE`; TypeError if `data` is not JSON */
export function queueMessage(message: Message, keys: IdempotencyKeys, settle: Settle): QueuedMessage {
  const idempotencyKey = message.idempotencyKey ?? keys.take();
  const json = JSON.stringify({ ...message, idempotencyKey });
  const bytes = Buffer.byteLength(json);
  const recipients = recipientsOf(message.to);
  // These would make the whole batch fail.
  if (recipients.length > MAX_RECIPIENTS) {
    throw invalid(`to.users: ${MAX_RECIPIENTS} at most, not ${recipients.length}`);
  }
  if (bytes > MAX_MESSAGE_BYTES) throw invalid(`it has ${bytes} bytes, and a request may have 8 MiB`);
  return {
    json,
    bytes,
    recipients,
    idempotencyKey,
    hasOwnKey: message.idempotencyKey === undefined,
    isUnknown: false,
    isInFlight: false,
    isSettled: false,
    ...settle,
  };
}

function recipientsOf(to: unknown): string[] {
  const { user, users, topic } = (to ?? {}) as Partial<Record<string, unknown>>;
  if (Array.isArray(users)) return users.map((one) => `u:${String(one)}`);
  if (typeof user === "string") return [`u:${user}`];
  // If it is anything else, the server says what is wrong with it.
  return [typeof topic === "string" ? `t:${topic}` : "all"];
}

function invalid(what: string): PetrelError {
  return new PetrelError(petrelErrorCodes.invalidMessage, `The message can't be sent: ${what}.`, {
    outcome: "refused",
    retryable: false,
  });
}
