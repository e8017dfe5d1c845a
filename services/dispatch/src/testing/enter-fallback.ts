// Tests only: a message that was really accepted, with an entry in its fallback stream as an offer would write it.
// Guarantees: the entry is read by the same code as an offer's.
import { priorityLetters } from "@petrel/shared/protocol/messages/stored-message";
import type { MessageToAccept } from "@petrel/shared/redis/accept/accept-batch";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { message, type OpenStore } from "@petrel/shared/testing/redis/open-store";

export interface EnteredMessage {
  readonly id: string;
  readonly seq: number;
  readonly epoch: string;
  readonly atMs: number;
  /** The entry's id in its fallback stream. */
  readonly entryId: string;
}

/** A message with a notification for user "u1" of the first partition, unless told otherwise. */
export async function enterFallback(
  store: OpenStore,
  parts: Partial<MessageToAccept> = {},
  keys: PartitionKeys = store.keys,
): Promise<EnteredMessage> {
  const given = message({ notification: '{"title":"t"}', ...parts });
  const result = await store.accepter().accept(given);
  if (result.outcome !== "stored") throw new Error(result.outcome);
  const { seq, epoch, atMs } = result;
  const { userId, id, ttlMs, priority, notification } = given;
  const letters = `o${priorityLetters[priority]}`;
  const text = [userId, seq, epoch, atMs, atMs + ttlMs, id, letters, notification].join("\t");
  const entryId = await store.redis.xadd(keys.fallback(priority), "*", "m", text, "n", "0");
  return { id, seq, epoch, atMs, entryId: entryId ?? "" };
}
