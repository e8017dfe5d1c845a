// push-node/receive-envelopes -> here -> connection: puts messages on the sockets of their users.
// Guarantees: a connection sees strictly increasing seq without a gap: what was sent is dropped, a gap is repaired
// from the inbox first, a foreign epoch makes the client reconnect; each frame is encoded once.
import { lineageOf } from "@petrel/shared/protocol/stored-message";
import type { Envelope } from "@petrel/shared/protocol/node-messages";
import { encodeMessageFrame } from "@petrel/shared/protocol/server-frames";
import type { CollectAcks } from "./collect-acks.js";
import type { Connection } from "./connection.js";
import type { ConnectionRegistry } from "./connection-registry.js";
import { encodeTextFrame } from "./encode-text-frame.js";

export interface DeliverDeps {
  readonly registry: ConnectionRegistry;
  readonly acks: CollectAcks;
  readonly catchUp: (connection: Connection) => void;
  /** Bytes that may wait in a live connection's socket. */
  readonly outboundBoundBytes: number;
  readonly onSent: (count: number) => void;
}

export type Deliver = (envelopes: readonly Envelope[]) => void;

export function createDeliver({ registry, acks, catchUp, outboundBoundBytes, onSent }: DeliverDeps): Deliver {
  return (envelopes) => {
    const written = new Set<Connection>();
    let sent = 0;
    for (const envelope of envelopes) {
      let frame: Buffer | undefined;
      for (const connection of registry.ofUser(envelope.userId)) {
        if (!isNext(connection, envelope, catchUp)) continue;
        if (connection.waitingBytes > outboundBoundBytes) {
          // A slow reader: from here on it reads its inbox, page by page as its socket drains.
          connection.want = envelope.seq;
          catchUp(connection);
          continue;
        }
        frame ??= frameOf(envelope);
        connection.queue(frame);
        connection.lastSent = envelope.seq;
        connection.lastShown = envelope.seq;
        written.add(connection);
        sent++;
      }
    }
    for (const connection of written) {
      if (connection.ackAuto) acks.ackWhenTaken(connection);
      else connection.flush();
    }
    onSent(sent);
  };
}

/** Whether the envelope is the one this connection waits for; if not, does what is to be done instead. */
function isNext(
  connection: Connection,
  envelope: Envelope,
  catchUp: (connection: Connection) => void,
): boolean {
  const { epoch, seq } = envelope;
  switch (connection.phase) {
    case "closing":
      return false;
    case "registering":
      if (seq > connection.want) {
        connection.want = seq;
        connection.wantEpoch = epoch;
      }
      return false;
    case "catching-up":
    case "live":
      if (epoch !== connection.epoch) {
        // An old message handed over late is covered by what was sent; a new one means another history.
        const isOld = lineageOf(epoch) === lineageOf(connection.epoch) && !connection.isForeign(envelope);
        if (!isOld) connection.reconnect(0, "PETREL_EPOCH_CHANGED");
        return false;
      }
      if (connection.phase === "live" && seq === connection.lastSent + 1) return true;
      if (seq > connection.lastSent) {
        connection.want = Math.max(connection.want, seq);
        catchUp(connection);
      }
      return false;
  }
}

function frameOf({ id, seq, atMs, data }: Envelope): Buffer {
  return encodeTextFrame(encodeMessageFrame(id, seq, new Date(atMs).toISOString(), data));
}
