// push-node/deliver/receive-envelopes -> here -> push-node/connection/connection: writes messages to their users'
// sockets.
// Guarantees: a connection sees strictly increasing seq without a gap: duplicates are dropped, a gap is first repaired
// from the inbox, and another epoch makes the client reconnect. Each frame is encoded once. No connection is sent more
// than its pace allows, and a slow one delays no other.
import type { Envelope } from "@petrel/shared/protocol/messages/node-messages";
import { encodeMessageFrame } from "@petrel/shared/protocol/frames/server-frames";
import type { CheckEpoch } from "./check-epoch.js";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import { encodeTextFrame } from "../connection/encode-text-frame.js";
import type { DeliveryAcks } from "./delivery-acks.js";
import type { DeliveryObserver } from "./delivery-observer.js";
import { isTakenBack } from "../recall/tell-recalls.js";
import { FrameTimes } from "./frame-times.js";
import type { ReceivePace } from "./pace-receiving.js";

export interface DeliverDeps {
  readonly registry: ConnectionRegistry;
  readonly acks: Pick<DeliveryAcks, "ackWhenTaken" | "ackSkipped">;
  readonly catchUp: (connection: Connection) => void;
  readonly checkEpoch: CheckEpoch;
  /** The most bytes that may wait in a live connection's socket. */
  readonly outboundBoundBytes: number;
  /** Limits how many messages a connection may be sent. */
  readonly pace: ReceivePace;
  readonly onSent: (count: number) => void;
  readonly observer: Pick<DeliveryObserver, "sent">;
}

export type Deliver = (envelopes: readonly Envelope[]) => void;

export function createDeliver(deps: DeliverDeps): Deliver {
  const { registry, acks, outboundBoundBytes, catchUp, pace, onSent, observer } = deps;
  const times = new FrameTimes();
  return (envelopes) => {
    const nowMs = pace.nowMs();
    const written: Connection[] = [];
    let sent = 0;
    for (const envelope of envelopes) {
      let frame: Buffer | undefined;
      for (const connection of registry.ofUser(envelope.userId)) {
        if (!isNext(deps, connection, envelope)) continue;
        if (connection.waitingBytes > outboundBoundBytes || !pace.takeOne(connection, nowMs)) {
          // Too slow, or over its pace: from here on it reads its inbox page by page, as its socket drains and its pace
          // allows.
          connection.targetSeq = envelope.seq;
          catchUp(connection);
          continue;
        }
        if (connection.recalls !== undefined && isTakenBack(connection, envelope.seq)) {
          connection.lastSent = envelope.seq;
          acks.ackSkipped(connection);
          continue;
        }
        frame ??= frameOf(envelope, times);
        connection.queue(frame);
        connection.lastSent = envelope.seq;
        connection.lastDelivered = envelope.seq;
        observer.sent(connection, envelope);
        // A second flush of the same connection finds nothing to write.
        if (written.at(-1) !== connection) written.push(connection);
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

/** Whether this connection can take the envelope now; if not, starts what makes up for it. */
function isNext(
  { catchUp, checkEpoch }: DeliverDeps,
  connection: Connection,
  { epoch, seq }: Envelope,
): boolean {
  switch (connection.phase) {
    case "closing":
      return false;
    case "registering":
      if (seq > connection.targetSeq) {
        connection.targetSeq = seq;
        connection.targetEpoch = epoch;
      }
      return false;
    case "catching-up":
    case "live":
      if (epoch !== connection.epoch) {
        // An old message that arrives late is covered by what was sent; a new one means another history.
        if (connection.epochUnderCheck !== epoch) void checkEpoch(connection, epoch);
        return false;
      }
      if (connection.phase === "live" && seq === connection.lastSent + 1) return true;
      if (seq > connection.lastSent) {
        connection.targetSeq = Math.max(connection.targetSeq, seq);
        catchUp(connection);
      }
      return false;
  }
}

function frameOf({ id, seq, atMs, data }: Envelope, times: FrameTimes): Buffer {
  return encodeTextFrame(encodeMessageFrame(id, seq, times.textOf(atMs), data));
}
