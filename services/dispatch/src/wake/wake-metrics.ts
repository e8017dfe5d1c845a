// wake-users -> here: what a dispatcher measures of the wakes.
// Guarantees: counters only grow.
import { Counter, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { wakeOutcomes, type WakeOutcome } from "@petrel/shared/redis/wake/wake-users";

export interface WakeMetrics {
  readonly woken: (outcome: WakeOutcome) => void;
  readonly expired: (count: number) => void;
}

export function createWakeMetrics(registry: Registry): WakeMetrics {
  const registers = [registry];
  const wakes = new Counter({
    name: "petrel_dispatch_wakes_total",
    help: "Users woken because they were due, by outcome",
    labelNames: ["outcome"],
    registers,
  });
  const expired = new Counter({
    name: "petrel_dispatch_expired_total",
    help: "Messages that the wake step ended as `expired`",
    registers,
  });
  for (const outcome of wakeOutcomes) wakes.inc({ outcome }, 0);
  return {
    woken: (outcome) => wakes.inc({ outcome }),
    expired: (count) => expired.inc(count),
  };
}
