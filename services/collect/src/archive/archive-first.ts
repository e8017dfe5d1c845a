// accept-with-retry -> here -> store-message: writes a message to the archive first, then to its store.
// Guarantees: an accepted message is in the archive, or in its spool, before its store is asked. A refusal ends its row
// before it is answered, so a row that stays pending was answered with 202, with "unknown", or not at all. A message
// that accept-with-retry sends again is written once. A publication to a topic whose history is the archive has its
// place recorded there before the answer, unless the archive has just become unavailable.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { Clock } from "@petrel/shared/kernel/clock";
import { NO_IDENTITY } from "@petrel/shared/protocol/messages/stored-message";
import { recipientOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import type { PendingRequest } from "@petrel/shared/redis/accept/turn-batches";
import type { NewRow } from "@petrel/shared/archive/message-archive";
import {
  identityOf,
  isForTopic,
  type MessageToStore,
  type PublishedPlace,
  type StoreMessage,
  type StoreResult,
} from "../accept/store-message.js";
import type { ArchiveWriter, Written } from "@petrel/shared/archive/writing/archive-writer";

interface InArchive {
  readonly row: NewRow;
  readonly written: Written;
}

export function archiveFirst(
  store: StoreMessage,
  writer: Pick<ArchiveWriter, "write" | "replace" | "refuse" | "published">,
  clock: Pick<Clock, "wallMs">,
): StoreMessage {
  const written = new WeakMap<MessageToStore, InArchive>();
  return async (message, request) => {
    let known = written.get(message);
    if (known === undefined) {
      const row = rowOf(message, clock.wallMs());
      known = { row, written: await writer.write(row) };
      written.set(message, known);
    }
    return storeThen(store, writer, message, known, request);
  };
}

async function storeThen(
  store: StoreMessage,
  writer: Pick<ArchiveWriter, "replace" | "refuse" | "published">,
  message: MessageToStore,
  { row, written }: InArchive,
  request: PendingRequest | undefined,
): Promise<StoreResult> {
  let result: StoreResult;
  try {
    result = await store(message, request);
  } catch (error) {
    // "Unavailable" may also mean that the message is stored but not confirmed, so its row stays pending.
    const isRefusal = error instanceof PetrelError && error.code !== "PETREL_UNAVAILABLE";
    if (isRefusal) await writer.refuse(row, written);
    throw error;
  }
  const hasKey = row.fingerprint !== NO_IDENTITY;
  const isOurs = result.outcome !== "exists" || result.record.fingerprint === identityOf(message).fingerprint;
  if (!isOurs || !isAccepted(result)) await writer.refuse(row, written);
  else {
    if (hasKey && written !== "new") await writer.replace(row, written);
    const place = isForTopic(message) && message.isArchived === true ? placeOf(result) : undefined;
    if (place !== undefined) await writer.published({ id: row.id, ...place }, written);
  }
  return result;
}

/** @returns undefined if it has none yet */
function placeOf(result: StoreResult): PublishedPlace | undefined {
  if (result.outcome === "stored" && result.place !== undefined) {
    const { offset, epoch, atMs } = result.place;
    return { offset, epoch, atMs };
  }
  if (result.outcome !== "exists" || result.record.seq < 1) return undefined;
  const { seq: offset, epoch, atMs } = result.record;
  return { offset, epoch, atMs };
}

function isAccepted({ outcome }: StoreResult): boolean {
  return outcome === "stored" || outcome === "exists";
}

/** @param nowMs by this process's clock; the time of acceptance by Redis's clock is written later */
export function rowOf(message: MessageToStore, nowMs: number): NewRow {
  const { id, partition, data, ttlMs, deliverAtMs } = message;
  const { fingerprint, attempt } = identityOf(message);
  const common = {
    id,
    partition,
    data,
    ttlMs,
    deliverAtMs,
    fingerprint,
    attempt,
    acceptedAtMs: nowMs,
    expiresAtMs: Math.max(deliverAtMs ?? nowMs, nowMs) + ttlMs,
  };
  if (isForTopic(message)) {
    return {
      ...common,
      recipient: recipientOfTopic(message.topic),
      // Whoever drives it on does not know the topic's rule.
      history: deliverAtMs === undefined ? undefined : message.history,
      notification: "",
      fallback: "never",
      priority: "normal",
      collapseKey: undefined,
    };
  }
  const { userId: recipient, notification, fallback, priority, collapseKey } = message;
  return { ...common, recipient, notification, fallback, priority, collapseKey };
}
