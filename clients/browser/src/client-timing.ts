// Every wait of the client, and how long it is where the application says nothing.
// Guarantees: all in milliseconds; the defaults are those that docs/receive/client.md and the contract name.

export interface ClientTiming {
  /** Full jitter between 0 and `min(cap, base * 2^n)`, after most closes. */
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  /** After 4429 and codes that are not known: the upper half of the same formula. */
  readonly longBackoffBaseMs: number;
  readonly longBackoffCapMs: number;
  /** A connection that lasted this long resets the backoff. */
  readonly stableAfterMs: number;
  /** From the first byte to the welcome. */
  readonly connectTimeoutMs: number;
  /** How long `getToken` and `getTicket` may take. */
  readonly tokenTimeoutMs: number;
  /** Handled messages within this time share one ack. */
  readonly ackDelayMs: number;
  /** After the network came back: how long a socket that was open may take to show that it still is. */
  readonly probeMs: number;
  /** While the browser says "offline": a slow attempt all the same, since it can be wrong. */
  readonly offlineRetryMs: number;
  /** How long `close` waits for the running handler, and then for the server's close frame and `savePosition`. */
  readonly closeGraceMs: number;
  /** How long a message's handlers may take before a `warning` tells of it. */
  readonly handlerWarningMs: number;
  /** How long one call of `savePosition` may take. */
  readonly savePositionTimeoutMs: number;
}

export const defaultTiming: ClientTiming = Object.freeze({
  backoffBaseMs: 500,
  backoffCapMs: 30_000,
  longBackoffBaseMs: 5_000,
  longBackoffCapMs: 120_000,
  stableAfterMs: 5_000,
  connectTimeoutMs: 10_000,
  tokenTimeoutMs: 15_000,
  ackDelayMs: 5,
  probeMs: 5_000,
  offlineRetryMs: 60_000,
  closeGraceMs: 2_000,
  handlerWarningMs: 10_000,
  savePositionTimeoutMs: 10_000,
});
