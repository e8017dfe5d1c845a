// route-messages -> here -> kernel/tracing: the spans of a batch's sampled messages.
// Guarantees: a handed-over message carries the context of its route, so that the delivery becomes that span's child. A
// batch without sampled messages costs one check per message.
import { messageAttributes, type Span, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { ReadyMessage } from "@petrel/shared/protocol/messages/stored-message";

export interface TracedRoutes {
  /** The context that goes with the message; undefined if it is not sampled. */
  readonly contextOf: (message: ReadyMessage) => string | undefined;
  readonly end: (outcome: string, messages: readonly ReadyMessage[]) => void;
  /** Fails the spans that have not ended. */
  readonly fail: (problem: string) => void;
}

export function traceRoutes(
  tracing: Tracing,
  partition: number,
  messages: readonly ReadyMessage[],
): TracedRoutes | undefined {
  const sampled = messages.filter(({ trace }) => trace !== undefined);
  if (sampled.length === 0) return undefined;
  const spans = new Map<ReadyMessage, Span>();
  for (const message of sampled) {
    const { id, seq, priority, trace } = message;
    const span = tracing.beginSpan("route", trace, {
      kind: "consumer",
      attributes: {
        ...messageAttributes({ id, partition, seq, priority }),
        "messaging.operation.type": "process",
      },
    });
    if (span !== undefined) spans.set(message, span);
  }
  return {
    contextOf: (message) => spans.get(message)?.context ?? message.trace,
    end: (outcome, ended) => {
      for (const message of ended) {
        const span = spans.get(message);
        span?.set({ "petrel.outcome": outcome });
        span?.end();
        spans.delete(message);
      }
    },
    fail: (problem) => {
      for (const span of spans.values()) {
        span.fail(problem);
        span.end();
      }
      spans.clear();
    },
  };
}
