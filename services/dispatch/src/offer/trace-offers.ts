// offer-unreached, wake-users -> here -> fall-back: the spans of sampled messages that were offered to the fallback.
// Guarantees: whoever takes a message from the fallback, at whichever attempt, knows its offer's span without being told.
import { derivedContext, messageAttributes, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { FallbackEntry } from "@petrel/shared/protocol/fallback/fallback-entry";
import type { TracedMessage } from "@petrel/shared/redis/wake/offered-traces";

export interface Offer {
  readonly partition: number;
  /** When its script was called, ms since 1970 by this machine's clock. */
  readonly startMs: number;
  /** What the script found: its user offline, or there without acknowledging. */
  readonly reason: string;
}

export function traceOffers(
  tracing: Tracing,
  { partition, startMs, reason }: Offer,
  traced: readonly TracedMessage[],
): void {
  for (const { id, trace } of traced) {
    const spanId = derivedContext(trace, nameOf(id))?.spanId;
    if (spanId === undefined) continue;
    const span = tracing.beginSpan("offer", trace, {
      kind: "producer",
      attributes: { ...messageAttributes({ id, partition }), "petrel.reason": reason },
      startMs,
      spanId,
    });
    span?.end();
  }
}

/** Whose child an attempt is. What is to be pushed always was put there in the step that stored it: nobody offers it. */
export function fallbackParentOf({ id, trace, fallback }: FallbackEntry): string | undefined {
  return fallback === "always" ? trace : derivedContext(trace, nameOf(id))?.context;
}

function nameOf(id: string): string {
  return `offer ${id}`;
}
