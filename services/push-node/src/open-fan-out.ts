// start-push-node -> here -> topics, presence: topics and who is there, wired.
// Guarantees: both follow the file of topic rules, and end with the service.
import { TopicsFile } from "@petrel/shared/kernel/topics/topics-file";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import { chooseConfirmation } from "@petrel/shared/redis/accept/confirm-writes";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { LimitCounts } from "@petrel/shared/redis/limits/limit-counts";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Service } from "@petrel/shared/service/open-service";
import type { ServiceRedis } from "@petrel/shared/service/open-service-redis";
import type { PushNodeConfig } from "./config.js";
import type { ConnectionRegistry } from "./connection/connection-registry.js";
import { openPresence, type NodePresence } from "./presence/open-presence.js";
import { openPublicationArchive } from "./topics/archive-publications.js";
import { openTopics, type Topics } from "./topics/open-topics.js";

/** How long a client's publication may take to become durable. */
const CONFIRMATION_MS = 4_000;

export interface FanOutDeps {
  readonly redis: Redis;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly openLink: ServiceRedis["openLink"];
  readonly registry: ConnectionRegistry;
  readonly redisNowMs: (keys: PartitionKeys) => number | undefined;
  readonly limitCounts: LimitCounts;
  readonly recordKeepMs: number;
}

export async function openFanOut(
  config: PushNodeConfig,
  service: Service,
  { redis, scripts, partitions, openLink, registry, redisNowMs, limitCounts, recordKeepMs }: FanOutDeps,
): Promise<{ readonly presence: NodePresence; readonly topics: Topics }> {
  const { instance: nodeId, logger, lifecycle, metrics, clock } = service;
  const topicsFile = new TopicsFile(
    config.topicsFile,
    ({ archive, clientPublish }) => archive && clientPublish && config.messageArchiveUrl === undefined,
  );
  const ruleOf = (topic: string): TopicRule => topicsFile.ruleOf(topic);
  const presence = openPresence({
    scripts,
    partitions,
    nodeId,
    // The remaining quarter is for the dispatcher to notice its end, and for clients to be told.
    leaseMs: Math.round((config.nodeTtlMs * 3) / 4),
    ruleOf,
    outboundBoundBytes: config.outboundBoundBytes,
    metrics,
    clock,
    logger,
  });
  const topics = openTopics({
    redis: await openLink({ role: "push-node-topics", link: "topics", isUnmeasured: true }),
    scripts,
    partitions,
    nodeId,
    registry,
    ruleOf,
    presence,
    maxPerConnection: config.maxTopicsPerConnection,
    ringBytes: config.topicRingBytes,
    outboundBoundBytes: config.outboundBoundBytes,
    redisNowMs,
    confirm: await chooseConfirmation(redis, config.acceptDurability, CONFIRMATION_MS, logger),
    archive: await openPublicationArchive(config, service, { scripts, partitions }),
    recordKeepMs,
    metrics,
    ticks: service.ticks,
    limitCounts,
    tracing: service.tracing,
    logger,
  });
  lifecycle.onStop("topics", topics.stop);
  topicsFile.follow({ logger, lifecycle }, () => presence.rulesChanged(topics.follow.all()));
  presence.start();
  lifecycle.onStop("presence in topics", presence.stop);
  return { presence, topics };
}
