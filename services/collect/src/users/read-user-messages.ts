// user-routes -> here -> shared/redis/read-inbox, shared/archive: one page of a user's stored messages.
// Guarantees: ascending by seq. Messages that have expired by Redis's clock are left out, after their end was written.
// `data` is copied as the stored JSON text.
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { type InboxMessage, lineageOf } from "@petrel/shared/protocol/messages/stored-message";
import { expireMessages } from "@petrel/shared/redis/inbox/expire-messages";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readInbox } from "@petrel/shared/redis/inbox/read-inbox";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { askArchive, cutPage, MAX_PAGE_BYTES } from "../archive/read-archive.js";

/** For the documentation only: the answer is sent as text. */
export const userMessagesSchema = Type.Unsafe<string>(
  Type.Object(
    {
      items: Type.Array(
        Type.Object({
          id: Type.String(),
          seq: Type.Integer(),
          epoch: Type.String(),
          acceptedAt: timeSchema,
          expiresAt: timeSchema,
          priority: Type.String(),
          fallback: Type.String(),
          data: Type.Unknown(),
        }),
      ),
      epoch: Type.Unsafe<string | null>({
        type: ["string", "null"],
        description: "The sequence's current epoch; null if the user never had a message or a connection.",
      }),
      nextAfter: Type.Unsafe<number | null>({
        type: ["integer", "null"],
        description: "`after` for the next page; null at the end.",
      }),
    },
    { title: "UserMessages" },
  ),
);

export interface PageRequest {
  /** Exclusive: the page begins above this seq. */
  readonly after: number;
  readonly limit: number;
}

export interface UserMessagesSources {
  readonly scripts: ScriptRunner;
  /** Set if one is configured: for what the inbox no longer has. */
  readonly archive: Pick<MessageArchive, "list"> | undefined;
}

/** The fields of an item, from either source. */
type ListedMessage = Pick<
  InboxMessage,
  "id" | "seq" | "epoch" | "atMs" | "expiresAtMs" | "priority" | "fallback" | "data"
>;

/** @returns the answer's body, see userMessagesSchema */
export async function readUserMessages(
  { scripts, archive }: UserMessagesSources,
  keys: PartitionKeys,
  userId: string,
  { after, limit }: PageRequest,
): Promise<string> {
  const { messages, nowMs } = await readInbox(scripts, keys, userId, after, {
    maxEntries: limit,
    maxBytes: MAX_PAGE_BYTES,
  });
  // Read after the page: if `seq` equals the page's last message, nothing follows it.
  const [epoch = null, seq] = await scripts.redis.hmget(keys.user(userId), "epoch", "seq");
  const expired = messages.filter(({ expiresAtMs }) => expiresAtMs <= nowMs);
  if (expired.length > 0) await expireMessages(scripts, keys, userId, expired);
  const below = messages[0]?.seq;
  const older =
    archive === undefined || epoch === null || below === after + 1
      ? []
      : await readOlder(archive, userId, lineageOf(epoch), { after, below, limit });
  const page = cutPage([...older, ...messages], limit);
  const items = page
    .filter((message) => older.includes(message) || message.expiresAtMs > nowMs)
    .map(encodeItem);
  const lastSeq = page.at(-1)?.seq;
  const nextAfter = lastSeq !== undefined && lastSeq < Number(seq ?? 0) ? lastSeq : null;
  return `{"items":[${items.join(",")}],"epoch":${JSON.stringify(epoch)},"nextAfter":${nextAfter}}`;
}

/** What the archive has between `after` and the inbox's beginning. */
async function readOlder(
  archive: Pick<MessageArchive, "list">,
  userId: string,
  lineage: string,
  page: { readonly after: number; readonly below: number | undefined; readonly limit: number },
): Promise<ListedMessage[]> {
  const rows = await askArchive(archive.list(userId, lineage, page));
  return rows.map(({ acceptedAtMs, seq = 0, epoch = "", ...rest }) => ({
    ...rest,
    atMs: acceptedAtMs,
    seq,
    epoch,
  }));
}

/** Ids, epochs and times need no escaping. */
function encodeItem(message: ListedMessage): string {
  const { id, seq, epoch, atMs, expiresAtMs, priority, fallback, data } = message;
  const acceptedAt = formatTime(atMs);
  const expiresAt = formatTime(expiresAtMs);
  return (
    `{"id":"${id}","seq":${seq},"epoch":"${epoch}","acceptedAt":"${acceptedAt}","expiresAt":"${expiresAt}",` +
    `"priority":"${priority}","fallback":"${fallback}","data":${data}}`
  );
}
