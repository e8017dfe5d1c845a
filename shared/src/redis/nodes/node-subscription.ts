// accept/accept.lua, dispatch/route-messages -> here -> push-node/receive-envelopes: a node's channels, one a
// partition, and those of all nodes, one a partition too, which carry revocations.
// Guarantees: texts come in the order they were published. What is published while the link is down is lost, so every
// return of the subscription is reported. A link that has died in silence is noticed and opened anew.
import { backoffMs } from "../../kernel/backoff.js";
import { describeError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { isCluster } from "../connection/cluster-nodes.js";
import { isAnswer } from "../connection/is-answer.js";
import { ClusterSubscription } from "./cluster-subscription.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";

export interface NodeSubscriptionOptions {
  /** A connection for this alone. */
  readonly redis: Redis;
  readonly partitions: readonly PartitionKeys[];
  readonly nodeId: string;
  readonly logger: Logger;
  readonly onText: (text: string) => void;
  /** The subscription is back after the link was down. */
  readonly onResubscribed: () => void;
}

export interface NodeSubscription {
  /** Whether texts reach this node now. */
  readonly isActive: () => boolean;
  readonly stop: () => Promise<void>;
}

const PROBE_EVERY_MS = 2_000;

/** Resolves when every channel is subscribed to. */
export async function subscribeNode(options: NodeSubscriptionOptions): Promise<NodeSubscription> {
  const { redis, partitions, nodeId, logger, onText, onResubscribed } = options;
  const channels = partitions.flatMap(({ channel, control }) => [channel + nodeId, control]);
  if (isCluster(redis)) {
    const spread = await ClusterSubscription.start({
      cluster: redis,
      channels,
      logger,
      onText,
      onResubscribed,
    });
    return { isActive: () => spread.isActive(), stop: () => spread.stop() };
  }
  let active = false;
  let stopped = false;

  const subscribeAll = async (): Promise<void> => {
    await Promise.all(channels.map((channel) => redis.ssubscribe(channel)));
    active = true;
  };

  const resubscribe = async (): Promise<void> => {
    for (let attempt = 0; !stopped && redis.status === "ready"; attempt++) {
      try {
        await subscribeAll();
        onResubscribed();
        return;
      } catch (error) {
        logger.warn({ reason: describeError(error) }, "not subscribed again yet");
        await new Promise((resolve) =>
          setTimeout(resolve, 50 + backoffMs(attempt, { baseMs: 100, capMs: 2_000 })),
        );
      }
    }
  };

  redis.on("smessage", (_channel: string, text: string) => onText(text));
  redis.on("close", () => (active = false));
  await subscribeAll();
  redis.on("ready", () => void resubscribe());

  const probe = setInterval(() => {
    if (!active) return;
    // A subscriber only listens: without this probe, a link that was cut would look like silence.
    redis.ping().catch((error: unknown) => {
      if (isAnswer(error)) return;
      logger.warn({ reason: describeError(error) }, "subscription does not answer: opening it anew");
      if (active && !stopped) redis.disconnect(true);
    });
  }, PROBE_EVERY_MS);

  return {
    isActive: () => active,
    stop: async () => {
      stopped = true;
      active = false;
      clearInterval(probe);
      await redis.quit().catch(() => redis.disconnect());
    },
  };
}
