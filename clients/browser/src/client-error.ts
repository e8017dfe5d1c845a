// The client's errors, passed to `error` listeners.
// Guarantees: each has a code to branch on, says whether the client carries on by itself, and keeps its cause.

/** The client's own codes. The server's codes (`PETREL_…`) pass through unchanged. */
export const clientErrorCodes = {
  /** `getToken` or `getTicket` threw, rejected, took too long, or returned something that is not a credential. */
  tokenFailed: "PETREL_CLIENT_TOKEN_FAILED",
  /** `getToken` or `getTicket` said that nobody is signed in: the client has stopped. */
  signedOut: "PETREL_CLIENT_SIGNED_OUT",
  /** No welcome came: the server refused, was unreachable, or took too long. */
  connectFailed: "PETREL_CLIENT_CONNECT_FAILED",
  /** The server sent something that is not a frame of the contract. The client ignored it. */
  badFrame: "PETREL_CLIENT_BAD_FRAME",
  /** A `message` listener threw or rejected. The message counts as handled. */
  handlerFailed: "PETREL_CLIENT_HANDLER_FAILED",
  /** A message's handlers have been running for a long time. Reported as a `warning`. */
  handlerSlow: "PETREL_CLIENT_HANDLER_SLOW",
  /** A listener of another event threw. */
  listenerFailed: "PETREL_CLIENT_LISTENER_FAILED",
  /** `savePosition` failed or took too long. The position in memory is still right. */
  savePositionFailed: "PETREL_CLIENT_SAVE_POSITION_FAILED",
  /** Messages of a topic were missed and are gone, and there is no `onLost`. */
  topicLost: "PETREL_CLIENT_TOPIC_LOST",
  /**
   * A topic's `getState` failed, took too long, or returned a position that its history does not reach; it is called
   * again.
   */
  stateFailed: "PETREL_CLIENT_STATE_FAILED",
  /** No answer to a `publish` in time; whether it was published is unknown. */
  publishTimeout: "PETREL_CLIENT_PUBLISH_TIMEOUT",
  /** An option, a saved position or an event name is wrong. The client works without it. */
  badOption: "PETREL_CLIENT_BAD_OPTION",
  /** `enableWebPush` or `disableWebPush` failed: the browser cannot, the user does not want it, or auth refused. */
  webPushFailed: "PETREL_CLIENT_WEB_PUSH_FAILED",
  /** The application closed the client, or the server did with a code that means stop. */
  closed: "PETREL_CLIENT_CLOSED",
} as const;

const applicationCodes: ReadonlySet<string> = new Set([
  clientErrorCodes.tokenFailed,
  clientErrorCodes.handlerFailed,
  clientErrorCodes.handlerSlow,
  clientErrorCodes.listenerFailed,
  clientErrorCodes.savePositionFailed,
  clientErrorCodes.topicLost,
  clientErrorCodes.stateFailed,
  clientErrorCodes.badOption,
]);

/** Whether the application's own code is at fault. Its developer must hear of that, even if nobody listens. */
export function isOfApplication({ code }: PetrelClientError): boolean {
  return applicationCodes.has(code);
}

export interface PetrelClientErrorOptions {
  /** Whether the client carries on by itself. */
  readonly retryable: boolean;
  readonly cause?: unknown;
  /** For `handlerFailed` and `handlerSlow`: the message being handled. */
  readonly messageId?: string | undefined;
  /** The topic that it concerns. */
  readonly topic?: string | undefined;
  /** For a `publish`: repeating it with the same key is safe. */
  readonly idempotencyKey?: string | undefined;
}

export class PetrelClientError extends Error {
  override readonly name = "PetrelClientError";
  readonly code: string;
  readonly retryable: boolean;
  readonly messageId: string | undefined;
  readonly topic: string | undefined;
  readonly idempotencyKey: string | undefined;

  constructor(code: string, message: string, options: PetrelClientErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable;
    this.messageId = options.messageId;
    this.topic = options.topic;
    this.idempotencyKey = options.idempotencyKey;
  }
}

/**
 * Thrown by `getToken` or `getTicket`, it stops the client, which would otherwise keep asking. Any error with `stop:
 * true` does the same.
 */
export class SignedOutError extends Error {
  override readonly name = "SignedOutError";
  readonly stop = true;
}

/** Turns anything thrown into text. An application can throw values that are not errors. */
export function describeFailure(error: unknown): string {
  try {
    if (!(error instanceof Error)) return String(error);
    return error.message === "" ? error.name : error.message;
  } catch {
    return "something that cannot be shown as text";
  }
}

export function connectFailed(why: string, cause?: unknown): PetrelClientError {
  const options = { retryable: true, cause };
  return new PetrelClientError(clientErrorCodes.connectFailed, `Could not connect: ${why}`, options);
}
