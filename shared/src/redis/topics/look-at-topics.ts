// push-node/topics -> here -> topics/look-at-topics.lua: the newest numbers of topics that a node listens to.
import { randomBytes } from "node:crypto";
import { DEFAULT_TOPIC_RULE } from "../../protocol/topics/topic-rules.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { TOPIC_KEEP_MS } from "./topic-publisher.js";

export interface TopicHead {
  readonly epoch: string;
  readonly offset: number;
}

/**
 * @param topics of one partition, at most 200
 * @returns for each, in order; undefined if Redis no longer knows it
 */
export async function lookAtTopics(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  topics: readonly string[],
): Promise<(TopicHead | undefined)[]> {
  const answer = await scripts.run(
    "look-at-topics.v1",
    [keys.generation, ...topics.map((topic) => keys.topic(topic))],
    [randomBytes(6).toString("base64url"), TOPIC_KEEP_MS, DEFAULT_TOPIC_RULE.historySeconds * 1_000],
  );
  return answer.split("\n").map((line) => {
    const [epoch = "", offset] = line.split("\t");
    return offset === undefined ? undefined : { epoch, offset: Number(offset) };
  });
}
