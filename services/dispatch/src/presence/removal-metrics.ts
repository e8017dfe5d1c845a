// remove-gone-nodes -> here: what a dispatcher removes from topics after nodes are gone.
// Guarantees: counters only grow.
import { Counter, type Registry } from "@petrel/shared/kernel/metrics/metrics";

export interface RemovalMetrics {
  /** Users removed by one call, each from one topic. */
  readonly removed: (users: number) => void;
  /** A node has been removed from a partition completely. */
  readonly nodeRemoved: () => void;
}

export function createRemovalMetrics(registry: Registry): RemovalMetrics {
  const registers = [registry];
  const removed = new Counter({
    name: "petrel_dispatch_presence_removed_total",
    help: "Users removed from topics because their push node is gone, counted once per topic",
    registers,
  });
  const nodes = new Counter({
    name: "petrel_dispatch_presence_nodes_removed_total",
    help: "Push nodes whose users were removed from a partition's topics: each stop, crash and restart, once per partition",
    registers,
  });
  return { removed: (users) => removed.inc(users), nodeRemoved: () => nodes.inc() };
}
