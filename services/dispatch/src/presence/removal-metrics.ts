// remove-gone-nodes -> here: what a dispatcher takes out of topics for nodes that are gone.
// Guarantees: counters only grow.
import { Counter, type Registry } from "@petrel/shared/kernel/metrics/metrics";

export interface RemovalMetrics {
  /** Users of one call, each in one topic. */
  readonly removed: (users: number) => void;
  /** All of a node is taken out of a partition. */
  readonly nodeRemoved: () => void;
}

export function createRemovalMetrics(registry: Registry): RemovalMetrics {
  const registers = [registry];
  const removed = new Counter({
    name: "petrel_dispatch_presence_removed_total",
    help: "Users taken out of topics because their push node is gone, each once a topic",
    registers,
  });
  const nodes = new Counter({
    name: "petrel_dispatch_presence_nodes_removed_total",
    help: "Push nodes whose users were taken out of a partition's topics: each stop, crash and new beginning, once a partition",
    registers,
  });
  return { removed: (users) => removed.inc(users), nodeRemoved: () => nodes.inc() };
}
