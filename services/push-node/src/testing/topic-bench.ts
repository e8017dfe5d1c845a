// Tests only: topics beside a node bench: publishes like producers, and filters clients' frames by topic.
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import { DEFAULT_TOPIC_RULE } from "@petrel/shared/protocol/topics/topic-rules";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { TopicPublisher, type TopicHistory } from "@petrel/shared/redis/topics/topic-publisher";
import type { Frame, TopicMessageFrame, WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { NodeBench } from "./node-bench.js";
import { tokenWith, type PushNode } from "./start-push-node.js";

export interface TopicBench {
  /** @returns its offset */
  readonly publish: (topic: string, data: unknown, more?: PublishOptions) => Promise<number>;
  /** Messages whose data are from, from + 1, … to. */
  readonly publishRange: (topic: string, from: number, to: number, more?: PublishOptions) => Promise<void>;
  readonly keysOf: (topic: string) => PartitionKeys;
}

export interface PublishOptions {
  readonly history?: Partial<TopicHistory>;
  readonly ttlMs?: number;
  /** It reaches the log but no node, as if the message was lost on its way. */
  readonly isLost?: boolean;
}

let ids = 0;

export function openTopicBench({ store }: NodeBench): TopicBench {
  const { scripts, partitions } = store;
  const publisher = new TopicPublisher({ scripts, partitions, maxInFlight: 1 });
  const elsewhere = partitions.map((keys) => ({ ...keys, topicChannel: `${keys.topicChannel}nobody:` }));
  const unheard = new TopicPublisher({ scripts, partitions: elsewhere, maxInFlight: 1 });
  const publish: TopicBench["publish"] = async (topic, data, options = {}) => {
    const { history, ttlMs = 3_600_000, isLost = false } = options;
    const { historySize: size, historySeconds, historyBytes: bytes } = DEFAULT_TOPIC_RULE;
    const result = await (isLost ? unheard : publisher).publish({
      topic,
      partition: partitionOfTopic(topic, partitions.length),
      id: `m${++ids}`,
      ttlMs,
      history: { size, ageMs: historySeconds * 1_000, bytes, ...history },
      from: "",
      data: JSON.stringify(data),
    });
    if (result.outcome !== "published") throw new Error(result.outcome);
    return result.offset;
  };
  return {
    publish,
    publishRange: async (topic, from, to, more) => {
      const all = Array.from({ length: to - from + 1 }, (_, i) => publish(topic, from + i, more));
      await Promise.all(all);
    },
    keysOf: (topic) => {
      const keys = partitions[partitionOfTopic(topic, partitions.length)];
      if (keys === undefined) throw new Error("no such partition");
      return keys;
    },
  };
}

/** A token that allows these topics, in the form of `POST /v1/tokens`. */
export function tokenFor(userId: string, ...topics: (string | Grant)[]): string {
  return tokenWith({
    userId,
    topics: topics.map((one) => (typeof one === "string" ? { topic: one, can: ["subscribe"] } : one)),
  });
}

interface Grant {
  readonly topic: string;
  readonly can: readonly ("subscribe" | "publish" | "presence")[];
}

/** Frames about a topic: its subscription, its messages, its end. */
export function framesOf(client: WsClient, topic: string): Frame[] {
  return client.frames.filter((frame) => frame["topic"] === topic);
}

export function offsetsOf(client: WsClient, topic: string): number[] {
  return client.topicMessages.filter((one) => one.topic === topic).map(({ offset }) => offset);
}

/** The last `subscribed` of a topic, once there are `count`. */
export function subscribed(client: WsClient, topic: string, count = 1): Promise<SubscribedAnswer> {
  return waitFor(
    () => {
      const all = framesOf(client, topic).filter(({ type }) => type === "subscribed");
      return all.length >= count ? (all.at(-1) as unknown as SubscribedAnswer) : undefined;
    },
    { what: `${count} subscribed to ${topic} (${JSON.stringify(client.frames.slice(-5))})`, everyMs: 5 },
  );
}

export interface SubscribedAnswer {
  readonly type: "subscribed";
  readonly topic: string;
  readonly epoch: string;
  readonly offset: number;
  readonly oldest: number;
  readonly recovered: boolean;
}

export function untilOffset(client: WsClient, topic: string, offset: number): Promise<TopicMessageFrame> {
  return waitFor(() => client.topicMessages.find((one) => one.topic === topic && one.offset >= offset), {
    what: `message ${offset} of ${topic} (have ${offsetsOf(client, topic).join()})`,
    everyMs: 5,
  });
}

/** The value of a counter in this node's metrics. */
export async function figure(node: PushNode, name: string, labels: Readonly<Record<string, string>> = {}) {
  const metric = await node.metrics.getSingleMetric(name)?.get();
  const value = metric?.values.find((one) =>
    Object.entries(labels).every(([label, text]) => (one.labels as Record<string, unknown>)[label] === text),
  );
  return value?.value ?? 0;
}
