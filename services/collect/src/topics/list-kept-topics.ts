// kept-topic-routes -> here -> shared/redis/topics/kept-topics: one page of the topics that are kept for a user.
// Guarantees: ascending by name. The cursor is the last name of the previous page, which need not be kept any more.
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { listKeptTopics } from "@petrel/shared/redis/topics/kept-topics";
import type { Static } from "typebox";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

export const keptTopicsSchema = Type.Object(
  {
    items: Type.Array(Type.Object({ topic: Type.String(), since: Type.String({ format: "date-time" }) })),
    nextCursor: Type.Unsafe<string | null>({
      type: ["string", "null"],
      description: "`cursor` of the next page; null at the end.",
    }),
  },
  { title: "KeptTopics" },
);

export interface KeptTopicsRequest {
  readonly cursor: string | undefined;
  readonly limit: number;
}

export async function pageKeptTopics(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
  { cursor = "", limit }: KeptTopicsRequest,
): Promise<Static<typeof keptTopicsSchema>> {
  const kept = await listKeptTopics(scripts, keys, userId);
  const rest = kept.filter(({ topic }) => topic > cursor);
  const items = rest
    .slice(0, limit)
    .map(({ topic, sinceMs }) => ({ topic, since: new Date(sinceMs).toISOString() }));
  return { items, nextCursor: rest.length > limit ? (items.at(-1)?.topic ?? null) : null };
}
