// push-node/start-push-node -> here -> nodes/node-subscription, push-node/node/announce-node: makes this node one that
// messages are handed to.
// Guarantees: resolves when its channels are subscribed and its key is set, so before its first connection registers. A
// stop withdraws the key before it ends the subscription.
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import type { Lifecycle } from "@petrel/shared/kernel/lifecycle/lifecycle";
import {
  subscribeNode,
  type NodeSubscription,
  type NodeSubscriptionOptions,
} from "@petrel/shared/redis/nodes/node-subscription";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { announceWhileRunning } from "./announce-node.js";

export interface JoinOptions extends Omit<NodeSubscriptionOptions, "onResubscribed" | "ticks"> {
  readonly ticks: Pick<CommonTicks, "every">;
  readonly scripts: ScriptRunner;
  /** The TTL of the node's key. */
  readonly ttlMs: number;
  /** Called with each renewal of the key. */
  readonly onBeat: () => void;
  /** Texts may have been missed, or this node's routes removed. @param why for the log */
  readonly onMissed: (why: string) => void;
  readonly lifecycle: Pick<Lifecycle, "onStop">;
}

export async function joinCluster(options: JoinOptions): Promise<NodeSubscription> {
  const { scripts, ticks, nodeId, ttlMs, logger, onMissed, onBeat, lifecycle } = options;
  const subscription = await subscribeNode({ ...options, onResubscribed: () => onMissed("resubscribed") });
  lifecycle.onStop("subscription", subscription.stop);
  const presence = await announceWhileRunning(
    scripts,
    ticks,
    nodeId,
    ttlMs,
    logger,
    () => onMissed("this node's key had expired"),
    onBeat,
  );
  lifecycle.onStop("presence", presence.stop);
  return subscription;
}
