// dispatch-partitions -> here: what a dispatcher measures of the hand-over.
// Guarantees: counters only grow.
import { Counter, type Registry } from "@petrel/shared/kernel/metrics/metrics";

export const handOverOutcomes = ["handed-over", "offline", "unheard", "expired", "skipped"] as const;

/**
 * `offline`: no live route · `unheard`: routes, but no node that listens · `skipped`: Redis refuses to work on this
 * user's keys; the message stays in the inbox
 */
export type HandOverOutcome = (typeof handOverOutcomes)[number];

export interface HandOverMetrics {
  readonly messages: (outcome: HandOverOutcome, count: number) => void;
  readonly batch: () => void;
}

export function createHandOverMetrics(registry: Registry): HandOverMetrics {
  const registers = [registry];
  const messages = new Counter({
    name: "petrel_dispatch_messages_total",
    help: "Messages read from ready, by outcome",
    labelNames: ["outcome"],
    registers,
  });
  const batches = new Counter({
    name: "petrel_dispatch_batches_total",
    help: "Batches read from ready, each from one partition",
    registers,
  });
  for (const outcome of handOverOutcomes) messages.inc({ outcome }, 0);
  return {
    messages: (outcome, count) => messages.inc({ outcome }, count),
    batch: () => batches.inc(),
  };
}
