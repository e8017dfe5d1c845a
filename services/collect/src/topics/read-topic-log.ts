// topic-log-routes -> here -> shared/redis/topics/read-topic: where a topic stands, and one page of its messages.
// Guarantees: ascending by offset; a message that is over its time by Redis' clock is left out; `data` is copied as the
// stored JSON text. A topic that was never used is no error: it stands at 0.
import type { TopicMessage } from "@petrel/shared/protocol/topics/topic-messages";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { readTopic } from "@petrel/shared/redis/topics/read-topic";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

/** A page ends with the message that passes this. */
const MAX_PAGE_BYTES = 1024 * 1024;

const epochSchema = Type.Unsafe<string | null>({
  type: ["string", "null"],
  description: "The epoch of the topic's numbers; null for a topic that was never used.",
});
const oldestSchema = Type.Integer({ description: "The smallest offset kept; `offset + 1` where none is." });

export const topicLogHeadFields = {
  topic: Type.String(),
  epoch: epochSchema,
  offset: Type.Integer({ description: "The newest number given; 0 where none was." }),
  oldest: oldestSchema,
  messages: Type.Integer({ description: "How many messages the log holds." }),
};

export interface TopicLogHead {
  readonly topic: string;
  readonly epoch: string | null;
  readonly offset: number;
  readonly oldest: number;
  readonly messages: number;
}

/** For the documentation only: the answer is sent as text. */
export const topicMessagesSchema = Type.Unsafe<string>(
  Type.Object(
    {
      items: Type.Array(
        Type.Object({
          id: Type.String(),
          offset: Type.Integer(),
          at: Type.String({ format: "date-time" }),
          data: Type.Unknown(),
          from: Type.Optional(
            Type.String({ description: "The user whose client published it; absent where a producer did." }),
          ),
        }),
      ),
      epoch: epochSchema,
      oldest: oldestSchema,
      nextAfter: Type.Unsafe<number | null>({
        type: ["integer", "null"],
        description: "`after` of the next page; null at the end.",
      }),
    },
    { title: "TopicMessages" },
  ),
);

/** @param topic a topic's name, or `$all` */
export async function readTopicHead(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  topic: string,
): Promise<TopicLogHead> {
  const page = await readTopic(scripts, keys, topic, { takesPart: false });
  if (page === undefined) return { topic, epoch: null, offset: 0, oldest: 1, messages: 0 };
  const { epoch, offset, oldest, length } = page;
  return { topic, epoch, offset, oldest, messages: length };
}

export interface TopicPageRequest {
  /** The page begins above this offset. */
  readonly after: number;
  readonly limit: number;
}

/** @returns the answer's body, see topicMessagesSchema */
export async function readTopicMessages(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  topic: string,
  { after, limit }: TopicPageRequest,
): Promise<string> {
  const page = await readTopic(scripts, keys, topic, {
    after,
    maxEntries: limit,
    maxBytes: MAX_PAGE_BYTES,
    takesPart: false,
  });
  if (page === undefined) return '{"items":[],"epoch":null,"oldest":1,"nextAfter":null}';
  const { messages, epoch, oldest, isComplete, nowMs } = page;
  const items = messages.filter(({ expiresAtMs }) => expiresAtMs > nowMs).map(encodeItem);
  const nextAfter = isComplete ? null : (messages.at(-1)?.offset ?? null);
  return `{"items":[${items.join(",")}],"epoch":${JSON.stringify(epoch)},"oldest":${oldest},"nextAfter":${nextAfter}}`;
}

/** Ids, names and times need no escaping. */
function encodeItem({ id, offset, atMs, data, from }: TopicMessage): string {
  const at = new Date(atMs).toISOString();
  const whose = from === "" ? "" : `,"from":"${from}"`;
  return `{"id":"${id}","offset":${offset},"at":"${at}","data":${data}${whose}}`;
}
