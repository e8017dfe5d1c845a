// push-node/start-push-node -> here: how long acknowledgements may linger for others to join them.
// Guarantees: together less than a third of the time after which a dispatcher looks for them.

export interface AckTimes {
  /** In the client, after the previous ack: each costs a frame, a read and a part of a write to Redis. */
  readonly clientMs: number;
  /**
   * In the node: nobody waits for the write, and a call costs as much as many acks in it. As clients gather theirs, few
   * come to a node in a moment.
   */
  readonly nodeMs: number;
}

const CLIENT_MS = 300;
const NODE_MS = 50;

export function ackTimesOf(ackTimeoutMs: number): AckTimes {
  return {
    clientMs: Math.min(CLIENT_MS, Math.floor(ackTimeoutMs / 4)),
    nodeMs: Math.min(NODE_MS, Math.floor(ackTimeoutMs / 20)),
  };
}
