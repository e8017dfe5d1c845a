// push-node/topics/publish-for-client -> here: names a message that a client publishes.
// Guarantees: the same user, idempotency key and topic always give the same id, and nothing else gives it, not even a
// producer's message: those hash a text that begins with a digit.
import { hash, randomBytes } from "node:crypto";
import { formatMessageId } from "@petrel/shared/protocol/messages/ids";

const ID_BYTES = 16;

/** @param partition the topic's */
export function keyedClientMessageId(
  partition: number,
  userId: string,
  idempotencyKey: string,
  topic: string,
): string {
  // As JSON text: in UTF-8 a lone surrogate would become U+FFFD, and two keys the same.
  const key = JSON.stringify(idempotencyKey);
  const text = `client ${userId.length}:${userId}${key.length}:${key}${topic.length}:${topic}`;
  return formatMessageId(partition, hash("sha256", text, "buffer").toString("base64url", 0, ID_BYTES));
}

export function randomClientMessageId(partition: number): string {
  return formatMessageId(partition, randomBytes(ID_BYTES).toString("base64url"));
}
