// accept/accept.lua, dispatch/route-messages -> here -> push-node/receive-envelopes: a node's own channels, one per
// partition, and the channels of all nodes, also one per partition, which carry revocations.
// Guarantees: texts arrive in the order they were published. What is published while the link is down is lost, so every
// return of the subscription is reported. A link that died silently is detected and reopened.
import type { CommonTicks } from "../../kernel/common-tick.js";
import { PetrelError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import { ChannelLinks } from "./channel-links.js";

export interface NodeSubscriptionOptions {
  /** A connection for this alone. */
  readonly redis: Redis;
  readonly partitions: readonly PartitionKeys[];
  readonly nodeId: string;
  readonly logger: Logger;
  readonly onText: (text: string) => void;
  /** The subscription is restored after the link was down. */
  readonly onResubscribed: () => void;
  /** When quiet links are probed; at its own moments by default. */
  readonly ticks?: Pick<CommonTicks, "every"> | undefined;
}

export interface NodeSubscription {
  /** Whether texts reach this node now. */
  readonly isActive: () => boolean;
  readonly stop: () => Promise<void>;
}

const START_DEADLINE_MS = 10_000;

/**
 * Resolves when every channel is subscribed.
 * @throws PetrelError PETREL_UNAVAILABLE if that takes too long
 */
export async function subscribeNode(options: NodeSubscriptionOptions): Promise<NodeSubscription> {
  const { redis, partitions, nodeId, logger, ticks, onText, onResubscribed } = options;
  const channels = partitions.flatMap(({ channel, control }) => [channel + nodeId, control]);
  let isStarted = false;
  let missed = false;
  let onStarted: () => void = () => undefined;
  const links = new ChannelLinks({
    redis,
    logger,
    ticks,
    onText: (text) => onText(text),
    onLost: () => (missed = true),
    onSubscribed: () => {
      if (!isActive()) return;
      if (!isStarted) {
        isStarted = true;
        missed = false;
        onStarted();
      } else if (missed) {
        missed = false;
        onResubscribed();
      }
    },
  });
  const isActive = (): boolean => channels.every((channel) => links.isActive(channel));
  for (const channel of channels) links.listen(channel);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      void links.stop();
      reject(new PetrelError("PETREL_UNAVAILABLE", "The channels could not be subscribed to."));
    }, START_DEADLINE_MS);
    onStarted = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  return { isActive, stop: () => links.stop() };
}
