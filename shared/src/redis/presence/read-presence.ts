// push-node/presence, collect -> here -> read-presence.lua, list-presence.lua: who is in topics of one partition.
// Guarantees: reading the counts costs the same however many users are there; a call lists a bounded number of them.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** A topic with more users than this is only counted. */
export const MAX_LISTED_USERS = 200;
/** Topics, or users of a page, per call. */
const MAX_A_CALL = 200;

export interface TopicPresence {
  readonly users: number;
  readonly connections: number;
  /** In the order of their names; absent if not requested, or if there are too many. */
  readonly here?: readonly string[];
}

export interface PresenceQuestion {
  readonly topic: string;
  readonly wantsList: boolean;
}

/** @returns one for each query, in order */
export async function readPresence(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  questions: readonly PresenceQuestion[],
): Promise<TopicPresence[]> {
  const found = new Map<number, TopicPresence>();
  let open = questions.map((_, i) => i);
  while (open.length > 0) {
    const asked = open.slice(0, MAX_A_CALL);
    const answer = await scripts.run(
      "read-presence.v1",
      asked.flatMap((i) => topicKeys(keys, questions[i]?.topic ?? "")),
      [MAX_LISTED_USERS, ...asked.map((i) => (questions[i]?.wantsList === true ? "1" : ""))],
    );
    for (const [at, line] of answer.split("\n").entries()) {
      // Earlier lists have filled the call: ask about this one again.
      if (line !== "") found.set(asked[at] ?? 0, decodePresence(line));
    }
    open = open.filter((i) => !found.has(i));
  }
  return questions.map((_, i) => found.get(i) ?? { users: 0, connections: 0 });
}

function decodePresence(line: string): TopicPresence {
  const [users = "", connections = "", ...here] = line.split("\t");
  const counts = { users: Number(users), connections: Number(connections) };
  if (here.length === 0) return counts;
  return { ...counts, here: here.filter((userId) => userId !== "") };
}

export interface PresentUser {
  readonly userId: string;
  readonly connections: number;
  /** Since when the user has been there without interruption, ms by Redis's clock. */
  readonly sinceMs: number;
}

export interface PresencePage {
  readonly users: number;
  readonly connections: number;
  /** In the order of their names. */
  readonly items: readonly PresentUser[];
}

/**
 * @param after exclusive: the page begins after this name; "" for the first page
 * @param limit any number: a large page is read in several calls
 */
export async function listPresence(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  topic: string,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<PresencePage> {
  const items: PresentUser[] = [];
  for (;;) {
    const some = Math.min(MAX_A_CALL, limit - items.length);
    const answer = await scripts.run("list-presence.v1", topicKeys(keys, topic), [
      items.at(-1)?.userId ?? after,
      some,
    ]);
    const [head = "", ...lines] = answer.split("\n");
    for (const line of lines) {
      const [userId = "", connections = "", since = ""] = line.split("\t");
      items.push({ userId, connections: Number(connections), sinceMs: Number(since) });
    }
    if (lines.length < some || items.length >= limit) return { ...decodePresence(head), items };
  }
}

function topicKeys(keys: PartitionKeys, topic: string): [string, string] {
  return [keys.presenceUsers(topic), keys.presenceCounts(topic)];
}
