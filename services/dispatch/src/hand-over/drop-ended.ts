// route-messages -> here: drops messages of `ready` that have ended since they were stored and must reach no client.
// Guarantees: what was recalled before this look is not handed over. A later recall reaches the node before the message
// does, in the recalling step itself, and the node skips the message (push-node/recall).
import {
  decodeMessageRecord,
  lineageOf,
  type ReadyMessage,
} from "@petrel/shared/protocol/messages/stored-message";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";

/** Matches a record with a final end. Few have one, so the others are not decoded. */
const FINAL_END = /\t(?:cancelled|expired) [^\t]*$/;

/** @param messages of one partition */
export async function dropEnded(
  redis: Redis,
  keys: PartitionKeys,
  messages: readonly ReadyMessage[],
): Promise<readonly ReadyMessage[]> {
  if (messages.length === 0) return messages;
  const records = await redis.mget(messages.map(({ id }) => keys.record(id)));
  if (!records.some((record) => record !== null && FINAL_END.test(record))) return messages;
  return messages.filter((message, i) => !hasEnded(message, records[i] ?? null));
}

/** A record under this id may belong to another message, if its user was erased and the id was sent again. */
function hasEnded({ seq, epoch }: ReadyMessage, text: string | null): boolean {
  if (text === null || !FINAL_END.test(text)) return false;
  const record = decodeMessageRecord(text);
  return record.seq === seq && lineageOf(record.epoch) === lineageOf(epoch);
}
