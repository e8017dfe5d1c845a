// push-node/app -> here -> kernel/lifecycle/patient-readiness: may balancers send clients to this node?
// Guarantees: a node that holds connections tolerates an outage of Redis for a while; a stopping node is unready at
// once.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { Readiness } from "@petrel/shared/kernel/http/http-app";
import { createReadiness } from "@petrel/shared/kernel/lifecycle/patient-readiness";
import { pingRedis } from "@petrel/shared/redis/connection/cluster-nodes";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { NodeSubscription } from "@petrel/shared/redis/nodes/node-subscription";

export interface NodeReadinessOptions {
  readonly redis: Redis;
  readonly subscription: Pick<NodeSubscription, "isActive">;
  /** Rejects if no token can be checked now. */
  readonly checkTokens: () => Promise<void>;
  readonly isDraining: () => boolean;
  readonly connections: { readonly size: number };
  /** How long an outage is tolerated while there are connections. */
  readonly patienceMs: number;
  readonly clock: Clock;
}

export function createNodeReadiness(options: NodeReadinessOptions): () => Promise<Readiness> {
  const { redis, subscription, checkTokens, isDraining, connections, patienceMs, clock } = options;
  return createReadiness({
    patient: {
      redis: () => pingRedis(redis),
      tokens: checkTokens,
      subscription: async () => {
        if (!subscription.isActive()) throw new Error("not subscribed");
      },
    },
    atOnce: { draining: () => (isDraining() ? "stopping" : undefined) },
    // Some balancers cut the sockets of a node that they take out, and all its clients would return at once.
    isHeld: () => connections.size > 0,
    patienceMs,
    clock,
  });
}
