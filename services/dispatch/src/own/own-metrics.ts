// own-partitions, held-partition -> here: what a dispatcher measures of its share.
// Guarantees: counters only grow; the number of owned partitions is read at the scrape.
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";

export interface OwnMetrics {
  readonly leaseLost: () => void;
}

export function createOwnMetrics(registry: Registry): OwnMetrics {
  const leaseLosses = new Counter({
    name: "petrel_dispatch_lease_losses_total",
    help: "Partitions lost instead of given back: the lease expired or another dispatcher took it",
    registers: [registry],
  });
  return { leaseLost: () => leaseLosses.inc() };
}

export function addOwnedGauge(registry: Registry, countOwned: () => number): void {
  const partitionsOwned = new Gauge({
    name: "petrel_dispatch_partitions_owned",
    help: "Partitions this dispatcher owns",
    registers: [],
    collect() {
      this.set(countOwned());
    },
  });
  registry.registerMetric(partitionsOwned);
}
