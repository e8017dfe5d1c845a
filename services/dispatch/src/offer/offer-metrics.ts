// offer-unreached, wake/wake-users -> here: what a dispatcher measures of its offers to the fallback.
// Guarantees: counters only grow.
import { Counter, type Registry } from "@petrel/shared/kernel/metrics/metrics";

export interface OfferMetrics {
  /** Messages handed to the fallback. */
  readonly offered: (count: number) => void;
  /** Nodes that were found dead through their routes. */
  readonly nodesGone: (count: number) => void;
}

export function createOfferMetrics(registry: Registry): OfferMetrics {
  const registers = [registry];
  const offered = new Counter({
    name: "petrel_dispatch_offered_total",
    help: "Messages offered to the fallback",
    registers,
  });
  const nodesGone = new Counter({
    name: "petrel_dispatch_gone_nodes_total",
    help: "Nodes found gone while they still had routes",
    registers,
  });
  return {
    offered: (count) => offered.inc(count),
    nodesGone: (count) => nodesGone.inc(count),
  };
}
