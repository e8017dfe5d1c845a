// Embedded Redis: what can go wrong, told apart by code.
// Guarantees: a person who typed `npm start` can act on the message; it never leaves the machine.

export type EmbeddedRedisErrorCode =
  /** No server on PATH or in the cache, and none could be fetched. */
  | "not-found"
  /** A command of the packaging system failed. */
  | "fetch-failed"
  /** At start the server ended, or did not answer in time. */
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
