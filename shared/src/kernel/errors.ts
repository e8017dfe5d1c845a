// The one kind of error that leaves a module: thrown inside, answered as JSON or as an `error` frame.
// Guarantees: each has a code of the catalogue; its cause is kept for the log and never sent.
import { errorDefinition, type ErrorCode } from "../protocol/error-codes.js";

export interface PetrelErrorOptions {
  readonly cause?: unknown;
  /** Facts for the caller, such as the wrong field. Never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Seconds until a retry makes sense, for 429 and 503; at least 1. */
  readonly retryAfterSeconds?: number;
}

export interface ErrorBody {
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly retryable: boolean;
    readonly details?: Readonly<Record<string, unknown>>;
  };
}

export class PetrelError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly retryAfterSeconds: number | undefined;

  /**
   * @param code one of the catalogue
   * @param message what is wrong and, where it helps, what would be right
   */
  constructor(code: ErrorCode, message: string, options: PetrelErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "PetrelError";
    const definition = errorDefinition(code);
    this.code = code;
    this.retryable = definition.retryable;
    this.status = definition.status ?? 500;
    this.details = options.details;
    this.retryAfterSeconds =
      options.retryAfterSeconds ?? (this.status === 503 || this.status === 429 ? 1 : undefined);
  }

  /** The contract's error shape. */
  toBody(): ErrorBody {
    return {
      error: {
        code: this.code,
        message: this.message,
        retryable: this.retryable,
        ...(this.details === undefined ? {} : { details: this.details }),
      },
    };
  }
}

/** Anything thrown, as text for a log or a message. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Includes the causes: `fetch failed` alone says nothing. */
export function describeWithCause(error: unknown): string {
  const text = describeError(error);
  if (!(error instanceof Error) || !(error.cause instanceof Error)) return text;
  const { message, code } = error.cause as Error & { readonly code?: unknown };
  // When Node tries several addresses and all fail, the error has a code but no message.
  const why = message === "" && typeof code === "string" ? code : message;
  return why === "" ? text : `${text}: ${why}`;
}
