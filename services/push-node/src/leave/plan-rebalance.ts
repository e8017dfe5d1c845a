// push-node/leave/rebalance -> here: how many of a node's clients should be elsewhere, and which may be asked.
// Guarantees: only what is above the mean; nobody, once each node has nearly the mean; and nobody who has come since the
// node joined that lacks clients, so that a client that has moved is not asked again, wherever the balancer sent it.
import type { NodeLoad } from "@petrel/shared/redis/nodes/node-loads";

export interface RebalancePlan {
  readonly share: number;
  /** Only connections from before may be asked; by Redis' clock. */
  readonly olderThanMs: number;
}

/** Of the mean: nearer than that is even. */
const TOLERANCE = 0.05;

/** @returns undefined where nobody is to move */
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
