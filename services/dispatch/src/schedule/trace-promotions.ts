// promote-due -> here -> kernel/tracing: the spans of sampled messages that were promoted.
// Guarantees: the next hand-over, delivery or offer becomes the promotion's child, whichever process does it.
import { messageAttributes, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { idOfSchedule } from "@petrel/shared/protocol/messages/scheduled-message";
import type { Promoted } from "@petrel/shared/redis/schedules/promote-schedules";

export interface PromotionCall {
  readonly partition: number;
  /** When its script was called, ms since 1970 by this machine's clock. */
  readonly startMs: number;
  readonly members: readonly string[];
}

export function tracePromotions(
  tracing: Tracing,
  { partition, startMs, members }: PromotionCall,
  results: readonly Promoted[],
): void {
  for (const [i, { outcome, latenessMs, trace }] of results.entries()) {
    if (trace === undefined) continue;
    const span = tracing.beginSpan("promote", trace.parent, {
      kind: "consumer",
      attributes: {
        ...messageAttributes({ id: idOfSchedule(members[i] ?? ""), partition }),
        "messaging.operation.type": "process",
        "petrel.outcome": outcome,
        "petrel.lateness_ms": latenessMs,
      },
      startMs,
      spanId: trace.spanId,
    });
    span?.end();
  }
}
