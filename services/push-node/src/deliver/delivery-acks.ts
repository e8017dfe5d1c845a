// push-node/deliver/{deliver, catch-up, receive-envelopes} -> here -> push-node/frames/collect-acks: what delivering
// asks of the acknowledgements.
import type { Connection } from "../connection/connection.js";

export interface DeliveryAcks {
  /** For a client that waived acknowledging: flushes, and acks what the kernel took. */
  readonly ackWhenTaken: (connection: Connection) => void;
  /** After messages were skipped: where the client has acked all it was sent, the skipped ones are done too. */
  readonly ackSkipped: (connection: Connection) => void;
  /**
   * Writes the client's ack again: an earlier write may have been lost. Before the first ack this still checks whether
   * the connection's epoch is the user's.
   */
  readonly repeat: (connection: Connection) => void;
}
