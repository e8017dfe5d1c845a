// push-node/fan-out/read-topic-log, collect/topics/read-topic-log -> here -> topics/read-topic.lua: where a topic
// stands, and what its log holds.
// Guarantees: number, bounds and page belong to one moment. A failover shows as a new epoch, with the position up to
// which the former one still holds.
import { randomBytes } from "node:crypto";
import { decodeTopicMessage, type TopicMessage } from "../../protocol/topics/topic-messages.js";
import { DEFAULT_TOPIC_RULE } from "../../protocol/topics/topic-rules.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { TOPIC_KEEP_MS } from "./topic-publisher.js";

export interface TopicPageRequest {
  /** Exclusive: the page begins above this offset; absent: no page, only the head. */
  readonly after?: number;
  /** At most a thousand. */
  readonly maxEntries?: number;
  /** The page ends with the message that exceeds this. */
  readonly maxBytes?: number;
  /** Whether the reader subscribes: then a topic that was never used is created, and a new epoch is recorded. */
  readonly takesPart: boolean;
}

export interface TopicPage {
  readonly epoch: string;
  /** The newest number assigned; 0 if none was. */
  readonly offset: number;
  /** The smallest number kept; `offset + 1` if none is. */
  readonly oldest: number;
  /** Nothing up to this position was lost when the epoch changed. */
  readonly previous: { readonly epoch: string; readonly offset: number } | undefined;
  /** How many messages the log holds. */
  readonly length: number;
  /** Ascending. Skip those that have expired (`expiresAtMs`); they leave no gap. */
  readonly messages: readonly TopicMessage[];
  /** Whether nothing follows this page. */
  readonly isComplete: boolean;
  /** Redis' clock when it was read, ms. */
  readonly nowMs: number;
}

/** @returns undefined if the topic was never used and the reader does not subscribe */
export async function readTopic(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  topic: string,
  { after, maxEntries = 1_000, maxBytes = Number.MAX_SAFE_INTEGER, takesPart }: TopicPageRequest,
): Promise<TopicPage | undefined> {
  const answer = await scripts.runForList(
    "read-topic.v1",
    [keys.generation, keys.topic(topic), keys.topicLog(topic)],
    [
      takesPart ? randomBytes(6).toString("base64url") : "",
      after ?? "",
      maxEntries,
      maxBytes,
      TOPIC_KEEP_MS,
      DEFAULT_TOPIC_RULE.historySeconds * 1_000,
    ],
  );
  if (answer.length === 0) return undefined;
  const [now, epoch = "", offset, oldest, previous = "", previousOffset, length, isWhole, ...flat] = answer;
  const messages: TopicMessage[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    messages.push(decodeTopicMessage(Number(flat[i]), flat[i + 1] ?? ""));
  }
  return {
    epoch,
    offset: Number(offset),
    oldest: Number(oldest),
    previous: previous === "" ? undefined : { epoch: previous, offset: Number(previousOffset) },
    length: Number(length),
    messages,
    isComplete: isWhole === "1",
    nowMs: Number(now),
  };
}

/** Whether everything after this position is available, so nothing is missing. */
export function isRecoverable(
  page: Pick<TopicPage, "epoch" | "offset" | "oldest" | "previous">,
  position: { readonly epoch: string; readonly offset: number },
): boolean {
  const { epoch, offset, oldest, previous } = page;
  const newest =
    position.epoch === epoch ? offset : position.epoch === previous?.epoch ? previous.offset : -1;
  return oldest - 1 <= position.offset && position.offset <= newest;
}
