// Every wait of the client, with its default.
// Guarantees: all are in milliseconds; the defaults match docs/receive/client.md and the contract.

export interface ClientTiming {
  /** Full jitter between 0 and `min(cap, base * 2^n)`, after most closes. */
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  /** After 4429 and unknown codes: the upper half of the same range. */
  readonly longBackoffBaseMs: number;
  readonly longBackoffCapMs: number;
  /** A connection that lasts this long resets the backoff. */
  readonly stableAfterMs: number;
  /** From opening the socket to the welcome. */
  readonly connectTimeoutMs: number;
  /** How long `getToken` and `getTicket` may take. */
  readonly tokenTimeoutMs: number;
  /** After a quiet time, messages handled within this time share one ack. */
  readonly ackDelayMs: number;
  /** Minimum time between later acks; shorter if the server asks for that. */
  readonly ackGatherMs: number;
  /** After the network is back: how long an open socket has to prove that it still works. */
  readonly probeMs: number;
  /** How often to try while the browser says "offline": it can be wrong. */
  readonly offlineRetryMs: number;
  /** How long `close` waits for the running handler, and then for the close frame and `savePosition`. */
  readonly closeGraceMs: number;
  /** How long a message's handlers may take before a `warning`. */
  readonly handlerWarningMs: number;
  /** How long one `savePosition` call may take. */
  readonly savePositionTimeoutMs: number;
  /** How long one call of a topic's `getState` may take. */
  readonly stateTimeoutMs: number;
  /** How long a `publish` may wait for a connection and its answer. */
  readonly publishTimeoutMs: number;
  /** After this long without an answer a `subscribe` is sent again. */
  readonly subscribeTimeoutMs: number;
  /** How often a visible tab checks whether the tab that holds the shared connection is still there. */
  readonly tabCheckMs: number;
  /** With `shared: { ack: "all" }`: a tab that is silent for this long is not waited for. Half of the ack timeout. */
  readonly tabSilentMs: number;
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
  ackGatherMs: 300,
  probeMs: 5_000,
  offlineRetryMs: 60_000,
  closeGraceMs: 2_000,
  handlerWarningMs: 10_000,
  savePositionTimeoutMs: 10_000,
  stateTimeoutMs: 15_000,
  publishTimeoutMs: 30_000,
  subscribeTimeoutMs: 30_000,
  tabCheckMs: 300,
  tabSilentMs: 5_000,
});
