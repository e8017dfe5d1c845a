// archiver -> here -> shared/redis/{accept/accept-batch, schedules/schedule-messages}: stores again a message that
// Redis has lost.
// Guarantees: keeps its id, so that no client takes it for another message, its time of acceptance, and the rest of its
// TTL. Never replaces a message that exists. Needs no fence: of two processes that re-drive the same message, the second
// finds it.
import type { ArchivedRow } from "@petrel/shared/archive/message-archive";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { MessageAccepter, MessageToAccept } from "@petrel/shared/redis/accept/accept-batch";
import { isConnectionError } from "@petrel/shared/redis/connection/connect";
import { topicOfRecipient } from "@petrel/shared/protocol/topics/topic-name";
import type { MessageScheduler } from "@petrel/shared/redis/schedules/schedule-messages";

export interface DriveDeps {
  readonly accepter: Pick<MessageAccepter, "accept">;
  readonly scheduler: Pick<MessageScheduler, "schedule">;
}

/** `later`: there is no room now, or no answer came; in the latter case it may be stored. */
export type Driven = "driven" | "there" | "later";

/** Enough that the call arrives before it. */
const SOON_MS = 1_000;

/** @param nowMs Redis's clock; the row has not expired by then */
export async function driveMessage(
  { accepter, scheduler }: DriveDeps,
  row: ArchivedRow,
  nowMs: number,
): Promise<Driven> {
  try {
    const topic = topicOfRecipient(row.recipient);
    if (topic !== undefined) return await driveToTopic(scheduler, row, topic, nowMs);
    const message = messageOf(row, nowMs);
    const { deliverAtMs = 0 } = row;
    if (deliverAtMs > nowMs) {
      const { outcome } = await scheduler.schedule({ ...message, ttlMs: row.ttlMs, deliverAtMs });
      if (outcome !== "due")
        return outcome === "scheduled" ? "driven" : outcome === "exists" ? "there" : "later";
    }
    const { outcome } = await accepter.accept(message);
    return outcome === "stored" ? "driven" : outcome === "exists" ? "there" : "later";
  } catch (error) {
    if (error instanceof PetrelError || isConnectionError(error)) return "later";
    throw error;
  }
}

/**
 * Through the schedules, also where its time has come: promotion publishes it. It is accepted anew: when it was published
 * is told by that.
 */
async function driveToTopic(
  scheduler: DriveDeps["scheduler"],
  row: ArchivedRow,
  topic: string,
  nowMs: number,
): Promise<Driven> {
  const { id, partition, data, fingerprint, attempt, history, deliverAtMs = 0, expiresAtMs } = row;
  if (history === undefined) throw new Error(`${id} was published when it was accepted`);
  const atMs = Math.max(deliverAtMs, nowMs + SOON_MS);
  const { outcome } = await scheduler.schedule({
    id,
    partition,
    topic,
    from: "",
    data,
    history,
    record: { fingerprint, attempt },
    ttlMs: Math.max(1, expiresAtMs - atMs),
    deliverAtMs: atMs,
  });
  return outcome === "scheduled" ? "driven" : outcome === "exists" ? "there" : "later";
}

function messageOf(row: ArchivedRow, nowMs: number): MessageToAccept {
  const { id, partition, recipient: userId, data, notification, fallback, priority, collapseKey } = row;
  const { fingerprint, attempt, expiresAtMs, deliverAtMs = 0, ttlMs, acceptedAtMs } = row;
  return {
    id,
    partition,
    userId,
    data,
    notification,
    fallback,
    priority,
    collapseKey,
    fingerprint,
    attempt,
    ttlMs: deliverAtMs > nowMs ? ttlMs : expiresAtMs - nowMs,
    acceptedAtMs,
  };
}
