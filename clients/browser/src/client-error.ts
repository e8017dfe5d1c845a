// The errors of the client, given to `error` listeners.
// Guarantees: each has a code to branch on, says whether the client goes on by itself, and keeps its cause.

/** Codes made here; those of the server (`PETREL_…`) pass through unchanged. */
export const clientErrorCodes = {
  /** `getToken` or `getTicket` threw, was rejected, took too long, or gave something that is no credential. */
  tokenFailed: "PETREL_CLIENT_TOKEN_FAILED",
  /** No welcome came: refused, unreachable, or too late. */
  connectFailed: "PETREL_CLIENT_CONNECT_FAILED",
  /** The server sent something that is not a frame of the contract; it was ignored. */
  badFrame: "PETREL_CLIENT_BAD_FRAME",
  /** A `message` listener threw or was rejected; the message counts as handled. */
  handlerFailed: "PETREL_CLIENT_HANDLER_FAILED",
  /** The handlers of a message have not finished for a long time; a `warning`. */
  handlerSlow: "PETREL_CLIENT_HANDLER_SLOW",
  /** A listener of another event threw. */
  listenerFailed: "PETREL_CLIENT_LISTENER_FAILED",
  /** `savePosition` failed, or took too long; the position in memory is right. */
  savePositionFailed: "PETREL_CLIENT_SAVE_POSITION_FAILED",
  /** An option, a kept position or an event's name is wrong; the client works without it. */
  badOption: "PETREL_CLIENT_BAD_OPTION",
  /** The client was closed, by the application or by a code that means stop. */
  closed: "PETREL_CLIENT_CLOSED",
} as const;

const applicationCodes: ReadonlySet<string> = new Set([
  clientErrorCodes.tokenFailed,
  clientErrorCodes.handlerFailed,
  clientErrorCodes.handlerSlow,
  clientErrorCodes.listenerFailed,
  clientErrorCodes.savePositionFailed,
  clientErrorCodes.badOption,
]);

/** Whether the application's own code is at fault: its developer must hear of that, whoever listens. */
export function isOfApplication({ code }: PetrelClientError): boolean {
  return applicationCodes.has(code);
}

export interface PetrelClientErrorOptions {
  /** Whether the client goes on by itself. */
  readonly retryable: boolean;
  readonly cause?: unknown;
  /** The message that was being handled, for `handlerFailed` and `handlerSlow`. */
  readonly messageId?: string;
}

export class PetrelClientError extends Error {
  override readonly name = "PetrelClientError";
  readonly code: string;
  readonly retryable: boolean;
  readonly messageId: string | undefined;

  constructor(code: string, message: string, options: PetrelClientErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable;
    this.messageId = options.messageId;
  }
}

/** Anything thrown, as text; an application can throw what is none. */
export function describeFailure(error: unknown): string {
  try {
    return error instanceof Error ? error.message : String(error);
  } catch {
    return "something that cannot be shown as text";
  }
}

export function connectFailed(why: string, cause?: unknown): PetrelClientError {
  const options = { retryable: true, cause };
  return new PetrelClientError(clientErrorCodes.connectFailed, `Could not connect: ${why}`, options);
}
