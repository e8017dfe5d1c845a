// topic-log-routes -> here -> shared/redis/topics/read-topic, shared/archive: where a topic stands, and one page of its
// messages.
// Guarantees: ascending by offset. Messages that have expired by Redis's clock are left out. `data` is copied as the
// stored JSON text. A topic that was never used is not an error: it stands at 0. If the archive is the topic's history,
// the page begins there and continues in the log, without a gap.
import type { ArchivedRow, MessageArchive } from "@petrel/shared/archive/message-archive";
import { lineageOf } from "@petrel/shared/protocol/messages/stored-message";
import type { TopicMessage } from "@petrel/shared/protocol/topics/topic-messages";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { readTopic } from "@petrel/shared/redis/topics/read-topic";
import { recipientOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { askArchive, cutPage, MAX_PAGE_BYTES } from "../archive/read-archive.js";

const epochSchema = Type.Unsafe<string | null>({
  type: ["string", "null"],
  description: "The epoch of the topic's numbers; null for a topic that was never used.",
});
const oldestSchema = Type.Integer({
  description: "The smallest offset kept; `offset + 1` if there is none.",
});

export const topicLogHeadFields = {
  topic: Type.String(),
  epoch: epochSchema,
  offset: Type.Integer({ description: "The newest offset; 0 if there is none." }),
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
            Type.String({ description: "The user whose client published it; absent if a producer did." }),
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
  /** Exclusive: the page begins above this offset. */
  readonly after: number;
  readonly limit: number;
}

/** Where a topic's messages can be read. */
export interface TopicSources {
  readonly scripts: ScriptRunner;
  /** Set if it is the topic's history. */
  readonly archive: Pick<MessageArchive, "list"> | undefined;
}

/** The fields of an item, from either source. */
type ListedMessage = Pick<TopicMessage, "id" | "offset" | "atMs" | "data" | "from">;

/** @returns the answer's body, see topicMessagesSchema */
export async function readTopicMessages(
  { scripts, archive }: TopicSources,
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
  const { messages, epoch, oldest, offset, isComplete, nowMs } = page;
  const below = messages[0]?.offset ?? offset + 1;
  const older =
    archive === undefined || below <= after + 1
      ? []
      : await readOlder(archive, topic, lineageOf(epoch), { after, below, limit });
  const taken = cutPage<ListedMessage>([...older, ...messages], limit);
  const isAll = isComplete && taken.length === older.length + messages.length && older.length < limit;
  const shown = archive === undefined ? messages.filter(({ expiresAtMs }) => expiresAtMs > nowMs) : taken;
  const nextAfter = isAll ? null : (taken.at(-1)?.offset ?? null);
  return `{"items":[${shown.map(encodeItem).join(",")}],"epoch":${JSON.stringify(epoch)},"oldest":${oldest},"nextAfter":${nextAfter}}`;
}

/** What the archive has between `after` and the log's beginning. */
async function readOlder(
  archive: Pick<MessageArchive, "list">,
  topic: string,
  lineage: string,
  page: { readonly after: number; readonly below: number; readonly limit: number },
): Promise<ListedMessage[]> {
  const rows = await askArchive(archive.list(recipientOfTopic(topic), lineage, page));
  return rows.map(({ id, seq = 0, acceptedAtMs, endedAtMs, data, from = "" }: ArchivedRow) => ({
    id,
    offset: seq,
    // A scheduled message was accepted long before it was published.
    atMs: endedAtMs ?? acceptedAtMs,
    data,
    from,
  }));
}

/** Ids, names and times need no escaping. */
function encodeItem({ id, offset, atMs, data, from }: ListedMessage): string {
  const at = new Date(atMs).toISOString();
  const whose = from === "" ? "" : `,"from":"${from}"`;
  return `{"id":"${id}","offset":${offset},"at":"${at}","data":${data}${whose}}`;
}
