// collect/keep-topics -> here -> topics/keep-topic.lua, push-node/topics: topics that the server keeps for a user.
// Guarantees: one step changes the set and tells the nodes; it may be repeated.
import type { RunScript } from "../accept/confirmed-scripts.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** The most topics kept for one user. */
export const MAX_KEPT_TOPICS = 100;

export interface KeptTopic {
  readonly topic: string;
  readonly sinceMs: number;
}

/** @returns full: the user has MAX_KEPT_TOPICS others, and nothing was changed */
export async function keepTopic(
  scripts: RunScript,
  keys: PartitionKeys,
  userId: string,
  topic: string,
): Promise<"kept" | "known" | "full"> {
  const answer = await scripts.run(
    "keep-topic.v1",
    [keys.keptTopics(userId), keys.routes(userId)],
    [userId, topic, MAX_KEPT_TOPICS, keys.channel],
  );
  return answer === "full" || answer === "known" ? answer : "kept";
}

export async function dropTopic(
  scripts: RunScript,
  keys: PartitionKeys,
  userId: string,
  topic: string,
): Promise<void> {
  await scripts.run(
    "drop-topic.v1",
    [keys.keptTopics(userId), keys.routes(userId)],
    [userId, topic, keys.channel],
  );
}

/** By name. */
export async function listKeptTopics(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
): Promise<KeptTopic[]> {
  const kept = await scripts.redis.hgetall(keys.keptTopics(userId));
  return Object.entries(kept)
    .map(([topic, since]) => ({ topic, sinceMs: Number(since) }))
    .sort((a, b) => (a.topic < b.topic ? -1 : 1));
}
