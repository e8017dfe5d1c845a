// Embedded Redis: what can go wrong with it, told apart by code.
// Guarantees: the message is one that a person who typed `npm start` can act on; it never leaves the machine.

export type EmbeddedRedisErrorCode =
  /** No server on PATH, none in the cache, and none could be fetched. */
  | "not-found"
  /** A command of the packaging system failed. */
  | "fetch-failed"
  /** The server ended, or did not answer in time, at start. */
  | "did-not-start"
  /** A server did not answer a probe, or answered with an error. */
  | "probe-failed";

export class EmbeddedRedisError extends Error {
  override readonly name = "EmbeddedRedisError";

  constructor(
    readonly code: EmbeddedRedisErrorCode,
    message: string,
    options?: { readonly cause?: unknown },
  ) {
    super(message, options);
  }
}
