// dispatch: what it measures of its work.
// Guarantees: counters only grow; what is asked of Redis at a reading is in partition-gauges.
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { hangReasons, type HangReason } from "@petrel/shared/redis/wake/reconcile-users";
import { wakeOutcomes, type WakeOutcome } from "@petrel/shared/redis/wake/wake-users";

export const handOverOutcomes = ["handed-over", "offline", "unheard", "expired", "skipped"] as const;

/**
 * `offline`: no live route · `unheard`: routes, but no node that listens · `skipped`: Redis refuses to work on this
 * user's keys; its message stays in the inbox
 */
export type HandOverOutcome = (typeof handOverOutcomes)[number];

export interface DispatchMetrics {
  readonly messages: (outcome: HandOverOutcome, count: number) => void;
  readonly batch: () => void;
  readonly woken: (outcome: WakeOutcome) => void;
  readonly expired: (count: number) => void;
  /** Messages that went to the fallback. */
  readonly offered: (count: number) => void;
  /** Nodes found dead by their routes. */
  readonly nodesGone: (count: number) => void;
  /** A user was found with something open that nobody looked after. */
  readonly hanging: (reason: HangReason) => void;
  /** A round of the reconciler is over. */
  readonly reconciled: () => void;
  readonly leaseLost: () => void;
  /** Devices forgotten that were not seen for long. */
  readonly devicesSwept: (count: number) => void;
}

export interface DispatchGauges {
  readonly countOwned: () => number;
}

/** @param gauges asked at each reading of the registry */
export function createDispatchMetrics(registry: Registry): DispatchMetrics {
  const registers = [registry];
  const messages = new Counter({
    name: "petrel_dispatch_messages_total",
    help: "Messages taken from ready, by what became of them",
    labelNames: ["outcome"],
    registers,
  });
  const batches = new Counter({
    name: "petrel_dispatch_batches_total",
    help: "Batches taken from ready, of one partition each",
    registers,
  });
  const wakes = new Counter({
    name: "petrel_dispatch_wakes_total",
    help: "Users looked after because their time had come, by outcome",
    labelNames: ["outcome"],
    registers,
  });
  const expired = new Counter({
    name: "petrel_dispatch_expired_total",
    help: "Messages whose end `expired` was written by the wake step",
    registers,
  });
  const offered = new Counter({
    name: "petrel_dispatch_offered_total",
    help: "Messages offered to the fallback",
    registers,
  });
  const nodesGone = new Counter({
    name: "petrel_dispatch_gone_nodes_total",
    help: "Nodes found gone while their routes still stood",
    registers,
  });
  const hanging = new Counter({
    name: "petrel_dispatch_hanging_users_total",
    help: "Users found by the reconciler with something open that nobody looked after, by reason",
    labelNames: ["reason"],
    registers,
  });
  const reconciliations = new Counter({
    name: "petrel_dispatch_reconciliations_total",
    help: "Rounds of the reconciler over all users",
    registers,
  });
  const leaseLosses = new Counter({
    name: "petrel_dispatch_lease_losses_total",
    help: "Partitions lost: not given back, but over or taken",
    registers,
  });
  const devicesSwept = new Counter({
    name: "petrel_dispatch_devices_swept_total",
    help: "Devices forgotten because they were neither registered again nor reached for long",
    registers,
  });
  for (const outcome of handOverOutcomes) messages.inc({ outcome }, 0);
  for (const outcome of wakeOutcomes) wakes.inc({ outcome }, 0);
  for (const reason of hangReasons) hanging.inc({ reason }, 0);
  return {
    messages: (outcome, count) => messages.inc({ outcome }, count),
    batch: () => batches.inc(),
    woken: (outcome) => wakes.inc({ outcome }),
    expired: (count) => expired.inc(count),
    offered: (count) => offered.inc(count),
    nodesGone: (count) => nodesGone.inc(count),
    hanging: (reason) => hanging.inc({ reason }),
    reconciled: () => reconciliations.inc(),
    leaseLost: () => leaseLosses.inc(),
    devicesSwept: (count) => devicesSwept.inc(count),
  };
}

export function addDispatchGauges(registry: Registry, { countOwned }: DispatchGauges): void {
  const partitionsOwned = new Gauge({
    name: "petrel_dispatch_partitions_owned",
    help: "Partitions that this dispatcher owns now",
    registers: [],
    collect() {
      this.set(countOwned());
    },
  });
  registry.registerMetric(partitionsOwned);
}
