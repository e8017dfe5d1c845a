// offer-unreached, wake/wake-users -> here -> fallback/fallback-chain: reports what a script has offered.
// Guarantees: every offer is counted, traced, and announced to this process's workers.
import type { Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { TracedMessage } from "@petrel/shared/redis/wake/offered-traces";
import type { OfferMetrics } from "./offer-metrics.js";
import { traceOffers } from "./trace-offers.js";

export interface OfferReports {
  readonly metrics: Pick<OfferMetrics, "offered">;
  readonly tracing: Tracing;
  /** The fallback streams have new entries. */
  readonly onOffered: () => void;
  /** A fallback stream was full. */
  readonly onHeldUp: () => void;
}

/** The result for one user. */
export interface OfferResult {
  /** Messages handed to the fallback. */
  readonly offered: number;
  /** Some messages found their fallback stream full. */
  readonly isHeldUp?: true;
  readonly traced?: readonly TracedMessage[] | undefined;
}

export interface ReportedCall {
  readonly partition: number;
  /** When the script was called, ms since 1970 by this machine's clock. */
  readonly startMs: number;
}

/** @param reasonOf what the script found, for traces: the user was offline, or was there and did not acknowledge */
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
