// routes -> here -> shared/archive: what the archive knows beyond Redis, in the contract's terms.
// Guarantees: a message that was never accepted is never shown. An archive that does not answer is "unavailable", never
// "not found".
import { ArchiveError, type ArchivedRow, type ArchivedState } from "@petrel/shared/archive/message-archive";
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { BROADCAST_TOPIC, topicOfRecipient } from "@petrel/shared/protocol/topics/topic-name";
import { describeReason, type MessageStateAnswer } from "../contract/describe-message.js";

/**
 * The states shown for messages that Redis no longer has. One last seen as `queued` or `scheduled` was lost by Redis
 * and is still to be re-driven. `pending` may never have been accepted.
 */
const shown: ReadonlySet<ArchivedState> = new Set([
  "scheduled",
  "queued",
  "delivered",
  "pushed",
  "failed",
  "published",
  "expired",
  "cancelled",
]);

/** A page ends with the message that exceeds this. */
export const MAX_PAGE_BYTES = 1024 * 1024;

/** @returns no more than a page may hold */
export function cutPage<Message extends { readonly data: string }>(
  messages: readonly Message[],
  limit: number,
): Message[] {
  const page: Message[] = [];
  let bytes = 0;
  for (const message of messages) {
    if (page.length === limit || bytes > MAX_PAGE_BYTES) break;
    bytes += message.data.length;
    page.push(message);
  }
  return page;
}

/** @throws PetrelError PETREL_UNAVAILABLE */
export async function askArchive<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error;
    throw new PetrelError("PETREL_UNAVAILABLE", "The message archive does not answer.", { cause: error });
  }
}

/** @returns undefined if nothing is known about it, or it was never accepted */
export function describeArchived(row: ArchivedRow): MessageStateAnswer | undefined {
  const { id, recipient, state, seq, epoch, acceptedAtMs, expiresAtMs, deliverAtMs, endedAtMs, word } = row;
  if (!shown.has(state)) return undefined;
  const topic = topicOfRecipient(recipient);
  const acceptedAt = formatTime(acceptedAtMs);
  const isPublished = state === "published";
  const number = seq === undefined ? {} : isPublished ? { offset: seq } : { seq };
  const event = state === "pushed" && word !== undefined ? { event: state, channel: word } : { event: state };
  return {
    id,
    to: topic === undefined ? { user: recipient } : topic === BROADCAST_TOPIC ? { all: true } : { topic },
    state,
    ...(isPublished && topic !== undefined ? { topic } : {}),
    ...number,
    ...(epoch === undefined ? {} : { epoch }),
    acceptedAt,
    expiresAt: formatTime(expiresAtMs),
    ...(state === "scheduled" && deliverAtMs !== undefined ? { deliverAt: formatTime(deliverAtMs) } : {}),
    ...describeReason(state, word, []),
    timeline: [
      { at: acceptedAt, event: "accepted" },
      ...(endedAtMs === undefined ? [] : [{ at: formatTime(endedAtMs), ...event }]),
    ],
  };
}
