// requests, send -> here: what a call rejects with.
// Guarantees: `outcome` says whether the action may still have happened; `code` is the server's, or one of ours.

/** This package's own codes; the server's (docs/send/errors.md) pass through unchanged. */
export const petrelErrorCodes = {
  /** No connection could be made: the server got nothing. */
  unreachable: "PETREL_SDK_UNREACHABLE",
  /** The server got the request, and no answer came. */
  noAnswer: "PETREL_SDK_NO_ANSWER",
  /** The answer does not come from Petrel, perhaps from a proxy in front of it. */
  badAnswer: "PETREL_SDK_BAD_ANSWER",
  /** It waited in this process for all of its time, and was never sent. */
  notSent: "PETREL_SDK_NOT_SENT",
  /** The queue is full: `ready()` resolves when there is room. */
  queueFull: "PETREL_SDK_QUEUE_FULL",
  /** It can never be sent: too large, or for too many recipients. */
  invalidMessage: "PETREL_SDK_INVALID_MESSAGE",
  /** `close()` was called. */
  closed: "PETREL_SDK_CLOSED",
} as const;

/**
 * refused: it did not happen · partial: a message to a list is stored for the users in `details.stored`, and not for
 * the others · unknown: it may have happened, or may happen in a moment
 */
export type Outcome = "refused" | "partial" | "unknown";

export interface PetrelErrorOptions {
  readonly outcome: Outcome;
  readonly retryable: boolean;
  readonly status?: number | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly idempotencyKey?: string | undefined;
  readonly cause?: unknown;
}

export class PetrelError extends Error {
  override readonly name = "PetrelError";
  /** For a `switch`: `PetrelErrorCode` lists the known ones. */
  readonly code: string;
  readonly outcome: Outcome;
  /** Whether the same call may succeed later, unchanged. */
  readonly retryable: boolean;
  /** Of the HTTP answer; in a batch, the status that the message would have had alone. */
  readonly status: number | undefined;
  /** Facts for programs: `field`, `scope`, `stored`, `state` … */
  readonly details: Readonly<Record<string, unknown>> | undefined;
  /** The server asked to wait this long. */
  readonly retryAfterMs: number | undefined;
  /** A message's key: sent again with it, the message is stored once. */
  readonly idempotencyKey: string | undefined;

  constructor(code: string, message: string, options: PetrelErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.outcome = options.outcome;
    this.retryable = options.retryable;
    this.status = options.status;
    this.details = options.details;
    this.retryAfterMs = options.retryAfterMs;
    this.idempotencyKey = options.idempotencyKey;
  }

  /** The same error with another outcome, for a message that was tried more than once. */
  with(changes: Partial<Pick<PetrelErrorOptions, "outcome" | "idempotencyKey">>): PetrelError {
    const { code, message, cause, retryable, status, details, retryAfterMs } = this;
    const outcome = changes.outcome ?? this.outcome;
    const idempotencyKey = changes.idempotencyKey ?? this.idempotencyKey;
    const isNews = outcome === "unknown" && this.outcome !== "unknown";
    const text = isNews
      ? `${message} An earlier attempt was not answered: it may have been carried out.`
      : message;
    return new PetrelError(code, text, {
      outcome,
      retryable,
      status,
      details,
      retryAfterMs,
      idempotencyKey,
      cause,
    });
  }
}

export function closedError(): PetrelError {
  return new PetrelError(petrelErrorCodes.closed, "This Petrel is closed.", {
    outcome: "refused",
    retryable: false,
  });
}
