// report-offers -> here -> fallback/fall-back: the spans of sampled messages that were offered to the fallback.
// Guarantees: a worker can derive a message's offer span, at any attempt.
import { derivedContext, messageAttributes, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { FallbackEntry } from "@petrel/shared/protocol/fallback/fallback-entry";
import type { TracedMessage } from "@petrel/shared/redis/wake/offered-traces";

export interface Offer {
  readonly partition: number;
  /** When its script was called, ms since 1970 by this machine's clock. */
  readonly startMs: number;
  /** What the script found: the user was offline, or was there and did not acknowledge. */
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

/**
 * The parent span of an attempt. A message with `fallback: always` entered the fallback when it was stored, so it has
 * no offer.
 */
export function fallbackParentOf({ id, trace, fallback }: FallbackEntry): string | undefined {
  return fallback === "always" ? trace : derivedContext(trace, nameOf(id))?.context;
}

function nameOf(id: string): string {
  return `offer ${id}`;
}
