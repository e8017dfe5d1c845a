// push-node/fan-out/read-topic-log, collect/topics/read-topic-log -> here -> topics/read-topic.lua: where a topic stands,
// and what its log has.
// Guarantees: number, bounds and page are of one moment; a changed master shows as a new epoch, with the position up to
// which the former one still holds.
import { randomBytes } from "node:crypto";
import { decodeTopicMessage, type TopicMessage } from "../../protocol/topics/topic-messages.js";
import { DEFAULT_TOPIC_RULE } from "../../protocol/topics/topic-rules.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { TOPIC_KEEP_MS } from "./topic-publisher.js";

export interface TopicPageRequest {
  /** The page begins above this offset; absent: no page, the head alone. */
  readonly after?: number;
  /** At most a thousand. */
  readonly maxEntries?: number;
  /** The page ends with the message that passes this. */
  readonly maxBytes?: number;
  /** Whether the reader takes part: then a topic that was never used is made, and a new epoch is noted. */
  readonly takesPart: boolean;
}

export interface TopicPage {
  readonly epoch: string;
  /** The newest number given; 0 where none was. */
  readonly offset: number;
  /** The smallest number kept; `offset + 1` where none is. */
  readonly oldest: number;
  /** Nothing up to this position was lost when the epoch changed. */
  readonly previous: { readonly epoch: string; readonly offset: number } | undefined;
  /** How many messages the log holds. */
  readonly length: number;
  /** Ascending. Some may be over their time (`expiresAtMs`): they are skipped, and leave no gap. */
  readonly messages: readonly TopicMessage[];
  /** Whether nothing lies behind this page. */
  readonly isComplete: boolean;
  /** Redis' clock when it was read, ms. */
  readonly nowMs: number;
}

/** @returns undefined where the topic was never used, and the reader does not take part */
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

/** Whether everything behind this position can be had: nothing is missing then. */
export function isRecoverable(
  page: Pick<TopicPage, "epoch" | "offset" | "oldest" | "previous">,
  position: { readonly epoch: string; readonly offset: number },
): boolean {
  const { epoch, offset, oldest, previous } = page;
  const newest =
    position.epoch === epoch ? offset : position.epoch === previous?.epoch ? previous.offset : -1;
  return oldest - 1 <= position.offset && position.offset <= newest;
}
