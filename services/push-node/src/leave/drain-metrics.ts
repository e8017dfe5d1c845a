// push-node/drain-connections -> here: how a planned stop proceeds.
// Guarantees: counts as it goes on, so that a scrape in between sees it; the listener of /metrics closes after it.
import { Counter, Gauge, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { LeaveOutcome } from "./drain-connections.js";

const outcomes: readonly LeaveOutcome[] = ["moved", "closed"];

/** @returns a function that counts a connection that was asked to move, when its moment has come */
export function createDrainMetrics(
  registry: Registry,
  isDraining: () => boolean,
): (outcome: LeaveOutcome) => void {
  registry.registerMetric(
    new Gauge({
      name: "petrel_node_draining",
      help: "1 while this node is stopping or draining: its clients are asked to move",
      registers: [],
      collect() {
        this.set(isDraining() ? 1 : 0);
      },
    }),
  );
  const drained = new Counter({
    name: "petrel_drained_connections_total",
    help: "Connections asked to move, by whether they left or were closed with 1012",
    labelNames: ["outcome"],
    registers: [registry],
  });
  for (const outcome of outcomes) drained.inc({ outcome }, 0);
  return (outcome) => drained.inc({ outcome });
}
