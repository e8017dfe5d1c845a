// push-node/deliver/{deliver, catch-up, receive-envelopes} -> here -> push-node/frames/collect-acks: the
// acknowledgements that delivery needs.
import type { Connection } from "../connection/connection.js";

export interface DeliveryAcks {
  /** For a client that opted out of acknowledging: flushes, and acks what the kernel accepted. */
  readonly ackWhenTaken: (connection: Connection) => void;
  /** After messages were skipped: if the client has acked everything it was sent, the skipped ones are done too. */
  readonly ackSkipped: (connection: Connection) => void;
  /**
   * Writes the client's ack again, because an earlier write may have been lost. Before the first ack this still checks
   * whether the connection's epoch is the user's.
   */
  readonly repeat: (connection: Connection) => void;
}
