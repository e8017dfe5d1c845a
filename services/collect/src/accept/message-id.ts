// prepare-messages -> here: gives a message its id before it is stored.
// Guarantees: the same owner, idempotency key and recipient always give the same id, and nothing else gives it; the
// user `alice` and the topic `alice` are different. Without a key the id is 128 random bits. So a retry, by collect or
// the producer, is the same message.
import { hash } from "node:crypto";
import { RandomText } from "@petrel/shared/kernel/random-text";
import { formatMessageId } from "@petrel/shared/protocol/messages/ids";

const ID_BYTES = 16;

/**
 * The first 128 bits of a SHA-256 over the three, each prefixed with its length, so that no other three give the same
 * input.
 * @param partition the recipient's
 * @param owner the business system behind the producer's key
 * @param recipient a valid user id, or a topic as `recipientOfTopic` writes it
 */
export function keyedMessageId(
  partition: number,
  owner: string,
  idempotencyKey: string,
  recipient: string,
): string {
  // As JSON text: in UTF-8 a lone surrogate would become U+FFFD, and two keys the same.
  const key = JSON.stringify(idempotencyKey);
  const text = `${owner.length}:${owner}${key.length}:${key}${recipient.length}:${recipient}`;
  return formatMessageId(partition, hash("sha256", text, "buffer").toString("base64url", 0, ID_BYTES));
}

export class RandomMessageIds {
  readonly #random = new RandomText(ID_BYTES);

  next(partition: number): string {
    return formatMessageId(partition, this.#random.next());
  }
}
