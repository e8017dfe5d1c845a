// promote-due -> here: what a dispatcher measures of promoted messages.
// Guarantees: counters only grow.
import { DurationHistogram } from "@petrel/shared/kernel/metrics/duration-histogram";
import { Counter, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import {
  type Promoted,
  type PromotionOutcome,
  promotionOutcomes,
} from "@petrel/shared/redis/schedules/promote-schedules";

export interface PromotionMetrics {
  readonly promoted: (results: readonly Promoted[]) => void;
  /** Redis refuses to work on its recipient's keys. */
  readonly refused: () => void;
}

const LATENESS_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200];

export function createPromotionMetrics(registry: Registry): PromotionMetrics {
  const outcomes = new Counter({
    name: "petrel_dispatch_promotions_total",
    help: "Scheduled messages that came due, by outcome",
    labelNames: ["outcome"],
    registers: [registry],
  });
  const lateness = new DurationHistogram<never>(registry, {
    name: "petrel_schedule_lateness_seconds",
    help: "How long after its time a message was promoted",
    bounds: LATENESS_SECONDS,
  }).series({});
  for (const outcome of counted) outcomes.inc({ outcome }, 0);
  return {
    promoted: (results) => {
      for (const { outcome, latenessMs } of results) {
        if (outcome === "left") continue;
        outcomes.inc({ outcome });
        if (outcome === "promoted") lateness.observe(latenessMs / 1_000);
      }
    },
    refused: () => outcomes.inc({ outcome: "refused" }),
  };
}

const counted: readonly (PromotionOutcome | "refused")[] = [
  ...promotionOutcomes.filter((outcome) => outcome !== "left"),
  "refused",
];
