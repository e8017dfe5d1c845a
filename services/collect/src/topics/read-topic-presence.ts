// presence-routes, topic-log-routes -> here -> shared/redis/presence/read-presence: who is in a topic, as far as its
// rule allows.
// Guarantees: `off` shows nothing; `count` shows counts; `list` also each user, by name. The cursor is the last name of
// the previous page, whether or not that user is still there.
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { TopicPresence as PresenceRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { listPresence, readPresence } from "@petrel/shared/redis/presence/read-presence";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Static } from "typebox";

const countSchema = (description: string) =>
  Type.Unsafe<number | null>({ type: ["integer", "null"], description });

export const presenceCountFields = {
  users: countSchema("The number of users; null if the topic's rule has no presence."),
  connections: countSchema("The number of their connections; null if the topic's rule has no presence."),
};

export const topicPresenceSchema = Type.Object(
  {
    ...presenceCountFields,
    items: Type.Array(
      Type.Object({
        user: Type.String(),
        connections: Type.Integer({
          description: "At least 1, even in the seconds after the last one has ended.",
        }),
        since: timeSchema,
      }),
      { description: "By name; empty unless the topic's rule says `list`." },
    ),
    nextCursor: Type.Unsafe<string | null>({
      type: ["string", "null"],
      description: "`cursor` of the next page; null at the end.",
    }),
  },
  { title: "TopicPresence" },
);

export interface TopicPresenceRequest {
  readonly rule: PresenceRule;
  readonly cursor: string | undefined;
  readonly limit: number;
}

export async function pageTopicPresence(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  topic: string,
  { rule, cursor = "", limit }: TopicPresenceRequest,
): Promise<Static<typeof topicPresenceSchema>> {
  if (rule !== "list")
    return { ...(await countPresence(scripts, keys, topic, rule)), items: [], nextCursor: null };
  // One more than requested, to tell whether there is a next page.
  const page = await listPresence(scripts, keys, topic, { after: cursor, limit: limit + 1 });
  const items = page.items
    .slice(0, limit)
    .map(({ userId, connections, sinceMs }) => ({ user: userId, connections, since: formatTime(sinceMs) }));
  return {
    users: page.users,
    connections: page.connections,
    items,
    nextCursor: page.items.length > limit ? (items.at(-1)?.user ?? null) : null,
  };
}

/** For callers that do not need the users themselves. */
export async function countPresence(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  topic: string,
  rule: PresenceRule,
): Promise<{ users: number | null; connections: number | null }> {
  if (rule === "off") return { users: null, connections: null };
  const [counts] = await readPresence(scripts, keys, [{ topic, wantsList: false }]);
  return { users: counts?.users ?? 0, connections: counts?.connections ?? 0 };
}
