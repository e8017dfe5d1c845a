// prepare-messages -> here -> kernel/tracing: the spans of a sampled request and of each of its messages.
// Guarantees: each message is stored with the context of its own span, which is the parent of all later spans; a retry
// keeps it.
import { messageAttributes, type Span, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { Acceptance } from "./acceptance.js";

export interface TracedAcceptance {
  /**
   * Begins a message's span; called for each, in order.
   * @returns the context to store with it
   */
  readonly begin: (message: {
    readonly id: string;
    readonly partition: number;
    readonly priority: string;
  }) => string | undefined;
  /** @param outcomes one for each message, in order */
  readonly end: (outcomes: readonly Acceptance[]) => void;
}

/**
 * @param traceparent the request's header, unvalidated
 * @returns undefined if the request is not sampled
 */
export function traceAcceptance(
  tracing: Tracing,
  traceparent: unknown,
  recipients: number,
): TracedAcceptance | undefined {
  const request = tracing.beginTrace("accept", traceparent, {
    kind: "server",
    attributes: { "messaging.system": "petrel", "messaging.batch.message_count": recipients },
  });
  if (request === undefined) return undefined;
  const spans: (Span | undefined)[] = [];
  return {
    begin: (message) => {
      const span = tracing.beginSpan("store", request.context, {
        kind: "producer",
        attributes: { ...messageAttributes(message), "messaging.operation.type": "send" },
      });
      spans.push(span);
      return span?.context;
    },
    end: (outcomes) => {
      let unavailable: string | undefined;
      for (const [i, acceptance] of outcomes.entries()) {
        const span = spans[i];
        span?.set({ "petrel.outcome": outcomeOf(acceptance) });
        if (acceptance.outcome === "unavailable") {
          unavailable ??= acceptance.error.code;
          span?.fail(acceptance.error.code);
        }
        span?.end();
      }
      if (unavailable !== undefined) request.fail(unavailable);
      request.end();
    },
  };
}

function outcomeOf(acceptance: Acceptance): string {
  if (acceptance.outcome !== "accepted") return acceptance.outcome;
  return acceptance.duplicate ? "duplicate" : "stored";
}
