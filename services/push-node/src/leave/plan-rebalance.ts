// push-node/leave/rebalance -> here: how many of a node's clients should be elsewhere, and which may be asked.
// Guarantees: only the excess over the mean; nobody, once each node is near the mean. Only clients that connected
// before the emptiest node joined, so a client that has moved is not asked again, wherever the balancer sent it.
import type { NodeLoad } from "@petrel/shared/redis/nodes/node-loads";

export interface RebalancePlan {
  readonly share: number;
  /** Only older connections may be asked; by Redis's clock. */
  readonly olderThanMs: number;
}

/** Fraction of the mean: within it, loads count as even. */
const TOLERANCE = 0.05;

/** @returns undefined if nobody has to move */
export function planRebalance(loads: readonly NodeLoad[], self: string): RebalancePlan | undefined {
  const own = loads.find(({ node }) => node === self);
  if (own === undefined || loads.length < 2) return undefined;
  const mean = loads.reduce((sum, { connections }) => sum + connections, 0) / loads.length;
  const share = own.connections - Math.ceil(mean);
  const isUneven = loads.some(({ connections }) => Math.abs(connections - mean) > mean * TOLERANCE);
  const lacking = loads.filter(({ connections }) => connections < mean);
  if (share <= 0 || !isUneven || lacking.length === 0) return undefined;
  return { share, olderThanMs: Math.max(...lacking.map(({ joinedAtMs }) => joinedAtMs)) };
}
