// push-node/start-push-node -> here -> push-node/leave/rebalance: its settings and metrics.
// Guarantees: without a rate nothing is reported, and nothing runs.
import type { Service } from "@petrel/shared/service/open-service";
import { Counter } from "@petrel/shared/kernel/metrics/metrics";
import { NodeLoads } from "@petrel/shared/redis/nodes/node-loads";
import { Rebalance, ROUND_MS, type RebalanceDeps } from "./rebalance.js";

export interface RebalanceSettings {
  /** 0 turns it off. */
  readonly rebalancePerSecond: number;
  readonly rebalanceSettleSeconds: number;
}

/** A node that missed three rounds is gone, or as good as gone. */
const STALE_MS = 3 * ROUND_MS + 1_000;

/** Call it when the node accepts connections. */
export function openRebalance(
  { rebalancePerSecond: perSecond, rebalanceSettleSeconds }: RebalanceSettings,
  { metrics, lifecycle, clock, logger, instance: nodeId }: Service,
  parts: Pick<RebalanceDeps, "scripts" | "registry" | "isDraining" | "isHeldUp">,
): void {
  const asked = new Counter({
    name: "petrel_rebalanced_connections_total",
    help: "Connections asked to move because this node had more than the others",
    registers: [metrics],
  });
  if (perSecond === 0) return;
  const rebalance = new Rebalance({
    ...parts,
    loads: new NodeLoads({ scripts: parts.scripts, nodeId, staleMs: STALE_MS }),
    nodeId,
    perSecond,
    settleMs: rebalanceSettleSeconds * 1_000,
    onAsked: () => asked.inc(),
    clock,
    logger,
  });
  lifecycle.onStop("rebalance", () => rebalance.stop());
  void rebalance.start();
}
