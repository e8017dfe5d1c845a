// archiver -> here: what a dispatcher measures of the message archive.
// Guarantees: counters only grow; gauges cover the partitions owned here.
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { Driven } from "./drive-message.js";

export interface ArchiverMetrics {
  /** Rows whose end or sequence number was written. */
  readonly updated: (rows: number) => void;
  readonly driven: (outcome: Driven) => void;
  readonly failed: () => void;
  readonly lag: (partition: number, seconds: number) => void;
  readonly spool: (partition: number, entries: number) => void;
  /** The partition is no longer owned here. */
  readonly forget: (partition: number) => void;
}

export function createArchiverMetrics(registry: Registry): ArchiverMetrics {
  const updated = new Counter({
    name: "petrel_archiver_updates_total",
    help: "Changes to rows of the message archive",
    registers: [registry],
  });
  const driven = new Counter({
    name: "petrel_archiver_driven_total",
    help: "Messages that Redis had lost, by the outcome of sending them again: driven, there already, or later for lack of room",
    labelNames: ["outcome"],
    registers: [registry],
  });
  const failed = new Counter({
    name: "petrel_archiver_failures_total",
    help: "Rounds of the archiver that failed; each is repeated",
    registers: [registry],
  });
  const lag = new Gauge({
    name: "petrel_archive_lag_seconds",
    help: "How long the most overdue row of the message archive has waited to be checked",
    labelNames: ["partition"],
    registers: [registry],
  });
  const spool = new Gauge({
    name: "petrel_archive_spool_entries",
    help: "Entries waiting in Redis for the message archive",
    labelNames: ["partition"],
    registers: [registry],
  });
  for (const outcome of ["driven", "there", "later"]) driven.inc({ outcome }, 0);
  return {
    updated: (rows) => updated.inc(rows),
    driven: (outcome) => driven.inc({ outcome }),
    failed: () => failed.inc(),
    lag: (partition, seconds) => lag.set({ partition }, seconds),
    spool: (partition, entries) => spool.set({ partition }, entries),
    forget: (partition) => {
      lag.remove({ partition });
      spool.remove({ partition });
    },
  };
}
