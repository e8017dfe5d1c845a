// accept-with-retry -> here -> shared/redis/{accept/accept-batch, topics/topic-publisher, schedules/schedule-messages}:
// passes a message to the store for its kind.
// Guarantees: a user's messages keep their order, and so do a topic's; the result has the same form for both. A
// scheduled message waits, unless its time has already come by Redis's clock.
import type { AcceptResult } from "@petrel/shared/redis/accept/accept-answers";
import type { MessageAccepter, MessageToAccept } from "@petrel/shared/redis/accept/accept-batch";
import type { PendingRequest } from "@petrel/shared/redis/accept/turn-batches";
import type { MessageScheduler, MessageToSchedule } from "@petrel/shared/redis/schedules/schedule-messages";
import type { TopicMessageToPublish, TopicPublisher } from "@petrel/shared/redis/topics/topic-publisher";

/** A message that is published and can be looked up by its id. */
export type MessageToPublish = TopicMessageToPublish & Required<Pick<TopicMessageToPublish, "record">>;

/** A message with its id: for one user, or for a topic. */
export type MessageToStore = (MessageToAccept | MessageToPublish) & {
  /** Not before this time, ms; its TTL starts then. */
  readonly deliverAtMs?: number | undefined;
};

export type StoreResult =
  /** `place`: where a topic message stands in its topic. */
  | { readonly outcome: "stored"; readonly place?: PublishedPlace }
  /** As many scheduled messages as allowed are waiting for its recipient. */
  | { readonly outcome: "schedules-full" }
  | Exclude<AcceptResult, { readonly outcome: "stored" }>;

/** Where it was published, and when, by Redis's clock. */
export interface PublishedPlace {
  readonly offset: number;
  readonly epoch: string;
  readonly atMs: number;
}

/** May be called again with the same message, see accept-with-retry. */
export type StoreMessage = (message: MessageToStore, request?: PendingRequest) => Promise<StoreResult>;

const stored: StoreResult = Object.freeze({ outcome: "stored" });
const schedulesFull: StoreResult = Object.freeze({ outcome: "schedules-full" });

export function createStoreMessage(
  users: Pick<MessageAccepter, "accept">,
  topics: Pick<TopicPublisher, "publish">,
  later: Pick<MessageScheduler, "schedule">,
): StoreMessage {
  const storeNow: StoreMessage = (message, request) =>
    isForTopic(message) ? publish(topics, message, request) : users.accept(message, request);
  return (message, request) => {
    const { deliverAtMs } = message;
    if (deliverAtMs === undefined) return storeNow(message, request);
    return schedule(later, { ...message, deliverAtMs }, () => storeNow(message, request), request);
  };
}

async function schedule(
  later: Pick<MessageScheduler, "schedule">,
  message: MessageToSchedule,
  storeNow: () => Promise<StoreResult>,
  request: PendingRequest | undefined,
): Promise<StoreResult> {
  const result = await later.schedule(message, request);
  if (result.outcome === "due") return storeNow();
  if (result.outcome === "full") return schedulesFull;
  return result.outcome === "scheduled" ? stored : result;
}

async function publish(
  topics: Pick<TopicPublisher, "publish">,
  message: MessageToPublish,
  request: PendingRequest | undefined,
): Promise<StoreResult> {
  const result = await topics.publish(message, request);
  return result.outcome === "published" ? { outcome: "stored", place: result } : result;
}

export function isForTopic(message: MessageToStore): message is MessageToStore & MessageToPublish {
  return "topic" in message;
}

/** What distinguishes a retry from another message, and our own retry from the producer's. */
export function identityOf(message: MessageToStore): Pick<MessageToAccept, "fingerprint" | "attempt"> {
  return isForTopic(message) ? message.record : message;
}
