// push-node/deliver/{deliver, catch-up}, push-node/frames/collect-acks -> here -> measure-latency, trace-deliveries:
// the port for observing that messages were sent and acknowledged.
import type { Priority } from "@petrel/shared/protocol/messages/stored-message";
import type { Connection } from "../connection/connection.js";

export interface SentMessage {
  readonly seq: number;
  /** When it was accepted, by Redis's clock. */
  readonly atMs: number;
  readonly priority: Priority;
  readonly id?: string;
  /** Set if it is sampled, see trace-deliveries. */
  readonly trace?: string | undefined;
}

export interface DeliveryObserver {
  /** A message was written to this connection's socket. */
  readonly sent: (connection: Connection, message: SentMessage) => void;
  /** The client acknowledged up to and including `seq`. */
  readonly acked: (connection: Connection, seq: number) => void;
  /** Its socket is gone. */
  readonly closed: (connection: Connection) => void;
}

/** Calls both for everything. */
export function bothOf(first: DeliveryObserver, second: DeliveryObserver): DeliveryObserver {
  return {
    sent: (connection, message) => {
      first.sent(connection, message);
      second.sent(connection, message);
    },
    acked: (connection, seq) => {
      first.acked(connection, seq);
      second.acked(connection, seq);
    },
    closed: (connection) => {
      first.closed(connection);
      second.closed(connection);
    },
  };
}
