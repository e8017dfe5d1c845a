// collect/describe-user -> here: a user's newest messages, whatever became of them.
// Guarantees: reads only, a bounded amount. The inbox has the open messages and the newest acknowledged ones. Messages
// that have left it are found through their events, if EVENTS enables those and they are among the partition's newest.
import { decodeStoredEvent } from "../../protocol/events/stored-event.js";
import { decodeInboxMessage } from "../../protocol/messages/stored-message.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";

export interface RecentMessage {
  readonly id: string;
  readonly seq: number;
}

/** How many of the partition's newest events are searched. */
const EVENTS_READ = 1_000;

/** @returns newest first */
export async function readRecentMessages(
  redis: Redis,
  keys: PartitionKeys,
  userId: string,
  count: number,
): Promise<RecentMessage[]> {
  const [entries, events] = await Promise.all([
    redis.xrevrange(keys.inbox(userId), "+", "-", "COUNT", count),
    redis.xrevrange(keys.events, "+", "-", "COUNT", EVENTS_READ),
  ]);
  const found = new Map<number, string>();
  for (const [, fields] of events) {
    const event = decodeStoredEvent(fields[1] ?? "");
    if (event?.who !== userId || !event.type.startsWith("message.")) continue;
    const seq = Number(event.seq);
    if (seq > 0) found.set(seq, event.words[0]);
  }
  for (const [entryId, fields] of entries) {
    const seq = Number.parseInt(entryId, 10);
    found.set(seq, decodeInboxMessage(seq, fields[1] ?? "").id);
  }
  return [...found]
    .map(([seq, id]) => ({ seq, id }))
    .sort((a, b) => b.seq - a.seq)
    .slice(0, count);
}
