// offer-unreached, wake/wake-users -> here -> fallback/fallback-chain: what a script says it has offered.
// Guarantees: whatever was offered is counted, traced, and told to the workers of this process.
import type { Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { TracedMessage } from "@petrel/shared/redis/wake/offered-traces";
import type { OfferMetrics } from "./offer-metrics.js";
import { traceOffers } from "./trace-offers.js";

export interface OfferReports {
  readonly metrics: Pick<OfferMetrics, "offered">;
  readonly tracing: Tracing;
  /** Something was put into the fallback streams. */
  readonly onOffered: () => void;
  /** Something found its fallback stream full. */
  readonly onHeldUp: () => void;
}

/** Of one user. */
export interface OfferResult {
  /** Messages that went to the fallback. */
  readonly offered: number;
  /** Others found their fallback stream full. */
  readonly isHeldUp?: true;
  readonly traced?: readonly TracedMessage[] | undefined;
}

export interface ReportedCall {
  readonly partition: number;
  /** When the script was called, ms since 1970 by this machine's clock. */
  readonly startMs: number;
}

/** @param reasonOf what the script found: its user offline, or there without acknowledging; for traces */
export function reportOffers<R extends OfferResult>(
  { metrics, tracing, onOffered, onHeldUp }: OfferReports,
  call: ReportedCall,
  results: readonly R[],
  reasonOf: (result: R) => string,
): void {
  if (results.some(({ isHeldUp }) => isHeldUp)) onHeldUp();
  let offered = 0;
  for (const result of results) {
    offered += result.offered;
    if (result.traced === undefined) continue;
    traceOffers(tracing, { ...call, reason: reasonOf(result) }, result.traced);
  }
  if (offered === 0) return;
  metrics.offered(offered);
  onOffered();
}
