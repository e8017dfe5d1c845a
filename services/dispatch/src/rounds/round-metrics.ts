// reconcile-partitions, sweep-devices -> here: what a dispatcher measures of its rounds over all users.
// Guarantees: counters only grow; the gauge shows the last complete round.
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { hangReasons, type HangReason } from "@petrel/shared/redis/wake/reconcile-users";

export interface RoundMetrics {
  /** A user had open messages that nothing was watching. */
  readonly hanging: (reason: HangReason) => void;
  /** The reconciler has completed a round. */
  readonly reconciled: () => void;
  /** Devices forgotten because they were not seen for long. */
  readonly devicesSwept: (count: number) => void;
  /** Devices in quarantine at the end of a round, in the partitions owned here. */
  readonly devicesQuarantined: (count: number) => void;
}

export function createRoundMetrics(registry: Registry): RoundMetrics {
  const registers = [registry];
  const hanging = new Counter({
    name: "petrel_dispatch_hanging_users_total",
    help: "Users with stuck open messages found by the reconciler, by reason",
    labelNames: ["reason"],
    registers,
  });
  const reconciliations = new Counter({
    name: "petrel_dispatch_reconciliations_total",
    help: "Rounds of the reconciler over all users",
    registers,
  });
  const devicesSwept = new Counter({
    name: "petrel_dispatch_devices_swept_total",
    help: "Devices removed because they were neither registered again nor reached for a long time",
    registers,
  });
  const devicesQuarantined = new Gauge({
    name: "petrel_devices_quarantined",
    help: "Devices in quarantine in the partitions of this dispatcher, as of its last round over all devices",
    registers,
  });
  for (const reason of hangReasons) hanging.inc({ reason }, 0);
  return {
    hanging: (reason) => hanging.inc({ reason }),
    reconciled: () => reconciliations.inc(),
    devicesSwept: (count) => devicesSwept.inc(count),
    devicesQuarantined: (count) => devicesQuarantined.set(count),
  };
}
