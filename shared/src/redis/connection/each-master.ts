// dispatch/reconcile-partitions -> here: runs a task for every server that holds data.
// Guarantees: one server at a time, so the load stays that of one.
import { allMasters } from "./cluster-nodes.js";
import type { Redis, SingleRedis } from "./connect.js";

/** Calls `task` for each master of a cluster, or for the only server. */
export async function forEachMaster(
  redis: Redis,
  task: (master: SingleRedis) => Promise<void>,
): Promise<void> {
  for (const master of allMasters(redis)) await task(master);
}
