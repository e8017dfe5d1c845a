// push-node/deliver/{deliver, catch-up}, push-node/frames/collect-acks -> here -> kernel/tracing: the spans of sampled
// messages, from the socket to the acknowledgement.
// Guarantees: a message that is not sampled costs a comparison. A span that waits for an acknowledgement ends with it,
// with the connection, or after a minute; at most 64 wait per connection, and 10,000 in total.
import { messageAttributes, type Span, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { Connection } from "../connection/connection.js";
import type { DeliveryObserver, SentMessage } from "./delivery-observer.js";

export interface TraceDeliveriesOptions {
  readonly tracing: Tracing;
  readonly nodeId: string;
  /** How long a span waits for its acknowledgement, ms. */
  readonly longestWaitMs?: number;
}

export interface TraceDeliveries extends DeliveryObserver {
  readonly stop: () => void;
}

interface Waiting {
  readonly seq: number;
  readonly sinceMs: number;
  readonly span: Span;
}

const LONGEST_WAIT_MS = 60_000;
const LOOK_EVERY_MS = 5_000;
const MAX_PER_CONNECTION = 64;
const MAX_IN_ALL = 10_000;

export function createTraceDeliveries({
  tracing,
  nodeId,
  longestWaitMs = LONGEST_WAIT_MS,
}: TraceDeliveriesOptions): TraceDeliveries {
  /** Per connection, in the order they were sent. */
  const waiting = new Map<Connection, Waiting[]>();
  let inAll = 0;

  const end = (connection: Connection, count: number, outcome: string): void => {
    const list = waiting.get(connection);
    if (list === undefined || count === 0) return;
    for (const { span } of list.splice(0, count)) {
      span.set({ "petrel.outcome": outcome });
      span.end();
      inAll--;
    }
    if (list.length === 0) waiting.delete(connection);
  };

  const awaitAck = (connection: Connection, message: SentMessage, context: string): void => {
    const list = waiting.get(connection) ?? [];
    if (list.length >= MAX_PER_CONNECTION) end(connection, 1, "unacknowledged");
    if (inAll >= MAX_IN_ALL) return;
    const span = tracing.beginSpan("await ack", context, {
      kind: "internal",
      attributes: attributesOf(connection, message),
    });
    if (span === undefined) return;
    list.push({ seq: message.seq, sinceMs: performance.now(), span });
    waiting.set(connection, list);
    inAll++;
  };

  const attributesOf = (connection: Connection, { id = "", seq, priority }: SentMessage) => ({
    ...messageAttributes({ id, partition: connection.keys.partition, seq, priority }),
    "petrel.node": nodeId,
    "petrel.connection": connection.id,
  });

  const timer = setInterval(() => {
    const before = performance.now() - longestWaitMs;
    for (const [connection, list] of waiting) {
      const fresh = list.findIndex(({ sinceMs }) => sinceMs > before);
      end(connection, fresh === -1 ? list.length : fresh, "unacknowledged");
    }
  }, LOOK_EVERY_MS);
  timer.unref();

  return {
    sent: (connection, message) => {
      if (message.trace === undefined || !connection.isOpen) return;
      const span = tracing.beginSpan("deliver", message.trace, {
        kind: "consumer",
        attributes: {
          ...attributesOf(connection, message),
          "messaging.operation.type": "process",
          "petrel.delivery": connection.phase,
        },
      });
      if (span === undefined) return;
      // Before the write, so that no acknowledgement comes first; both happen in this turn.
      awaitAck(connection, message, span.context);
      queueMicrotask(() => span.end());
    },
    acked: (connection, seq) => {
      if (inAll === 0) return;
      const list = waiting.get(connection);
      if (list === undefined) return;
      const open = list.findIndex((one) => one.seq > seq);
      end(connection, open === -1 ? list.length : open, "acknowledged");
    },
    closed: (connection) => end(connection, MAX_PER_CONNECTION, "closed"),
    stop: () => {
      clearInterval(timer);
      for (const connection of waiting.keys()) end(connection, MAX_PER_CONNECTION, "closed");
    },
  };
}
