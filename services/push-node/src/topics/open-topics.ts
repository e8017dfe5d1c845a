// push-node/start-push-node -> here: opens topics on this node: what arrives on their channels, and what clients and
// the server want of them.
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { Registry } from "@petrel/shared/kernel/metrics/metrics";
import type { Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { BROADCAST_TOPIC } from "@petrel/shared/protocol/topics/topic-name";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { ConfirmWrites } from "@petrel/shared/redis/accept/confirm-writes";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { TopicPublisher } from "@petrel/shared/redis/topics/topic-publisher";
import type { Connection } from "../connection/connection.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import { FanOut } from "../fan-out/fan-out.js";
import { FollowTopics, type FollowTopicsOptions } from "../fan-out/follow-topics.js";
import { RingBudget } from "../fan-out/ring-budget.js";
import { TopicCatchUp } from "../fan-out/topic-catch-up.js";
import type { PublicationArchive } from "./archive-publications.js";
import { createHandleTopicFrame, type HandleTopicFrame } from "./handle-topic-frames.js";
import { KeptTopics } from "./kept-topics.js";
import { createTakePublish } from "./limit-publishing.js";
import { createPublishForClient } from "./publish-for-client.js";
import { TopicMemberships } from "./topic-memberships.js";
import { createTopicMetrics } from "./topic-metrics.js";
import type { TopicPresence } from "./topic-presence.js";
import { TopicRequests } from "./topic-requests.js";
import { traceFanOut } from "./trace-fan-out.js";

export interface TopicsOptions {
  /** A connection for this alone. */
  readonly redis: Redis;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly nodeId: string;
  readonly registry: ConnectionRegistry;
  /** The rule that applies to a topic at this moment. */
  readonly ruleOf: (topic: string) => TopicRule;
  readonly presence: TopicPresence;
  readonly maxPerConnection: number;
  /** For the newest messages of all topics together. */
  readonly ringBytes: number;
  /** The most bytes that may wait in a socket. */
  readonly outboundBoundBytes: number;
  readonly redisNowMs: (keys: PartitionKeys) => number | undefined;
  /** How durable a client's message must be before it counts as published. */
  readonly confirm: ConfirmWrites | undefined;
  readonly recordKeepMs: number;
  /** For topics whose history is the archive, if one is configured. */
  readonly archive: PublicationArchive | undefined;
  readonly metrics: Registry;
  readonly ticks: FollowTopicsOptions["ticks"];
  readonly limitCounts: LimitCounts;
  readonly tracing: Tracing;
  readonly logger: Logger;
}

export interface Topics {
  readonly follow: FollowTopics;
  readonly kept: KeptTopics;
  readonly handleFrame: HandleTopicFrame;
  /** A connection's socket is gone. */
  readonly closed: (connection: Connection) => void;
  readonly stop: () => Promise<void>;
}

/** How long a client waits for the answer to a `subscribe`: the command timeout of Redis. */
const ANSWER_TIMEOUT_MS = 5_000;
const PUBLISHES_IN_FLIGHT = 2;

/** From here on `$all` is followed. */
export function openTopics(options: TopicsOptions): Topics {
  const { scripts, partitions, nodeId, registry, ruleOf, presence, tracing, logger } = options;
  const { outboundBoundBytes, redisNowMs, confirm, recordKeepMs } = options;
  const budget = new RingBudget(options.ringBytes);
  const metrics = createTopicMetrics(options.metrics, {
    topics: () => follow.size,
    subscriptions: () => memberships.count,
    ringBytes: () => budget.bytes,
  });
  const catchUp = new TopicCatchUp({
    redisNowMs,
    outboundBoundBytes,
    topicOf: (name) => follow.topicOf(name),
    readLog: (topic) => follow.readLog(topic),
    onSent: metrics.sent,
  });
  const fanOut = new FanOut({
    catchUp,
    outboundBoundBytes,
    observer: traceFanOut(tracing, nodeId, metrics.fanOut),
  });
  const follow: FollowTopics = new FollowTopics({
    redis: options.redis,
    scripts,
    partitions,
    ruleOf,
    budget,
    observer: metrics.repair,
    ticks: options.ticks,
    onDue: (topic) => fanOut.due(topic),
    onPresence: ({ name }) => presence.changed(name),
    logger,
  });
  const memberships: TopicMemberships = new TopicMemberships({ follow, catchUp, presence });
  const requests = new TopicRequests({
    memberships,
    follow,
    catchUp,
    ruleOf,
    presence,
    maxPerConnection: options.maxPerConnection,
    timeoutMs: ANSWER_TIMEOUT_MS,
    onRecovery: metrics.recovered,
  });
  const kept = new KeptTopics({ memberships, follow, registry, presence, onRecovery: metrics.recovered });
  const { archive } = options;
  const publisher = new TopicPublisher({
    scripts,
    partitions,
    maxInFlight: PUBLISHES_IN_FLIGHT,
    recordKeepMs,
    archiveKeepMs: archive?.keepMs ?? 0,
    ...(confirm === undefined ? {} : { confirm }),
  });
  const publish = createPublishForClient({
    publisher: archive === undefined ? publisher : archive.first(publisher),
    partitionCount: partitions.length,
    ruleOf,
    takePublish: createTakePublish({ scripts, counts: options.limitCounts, logger }),
    tracing,
    onPublished: metrics.published,
    logger,
  });
  follow.pin(BROADCAST_TOPIC);
  follow.start();
  return {
    follow,
    kept,
    handleFrame: createHandleTopicFrame(requests, publish),
    closed: (connection) => {
      requests.closed(connection);
      memberships.closed(connection);
    },
    stop: () => follow.stop(),
  };
}
