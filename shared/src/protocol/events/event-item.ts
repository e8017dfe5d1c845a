// An event as senders see it.
// Guarantees: an event has the same id for every reader, at every read.
import { parseTraceContext } from "../messages/trace-context.js";
import { topicOfRecipient } from "../topics/topic-name.js";
import type { EventType } from "./event-types.js";
import type { StoredEvent } from "./stored-event.js";

export interface EventItem {
  readonly id: string;
  readonly type: EventType;
  /** RFC 3339, UTC. */
  readonly at: string;
  readonly user?: string;
  readonly message?: string;
  readonly topic?: string;
  readonly data: EventData;
  readonly traceId?: string;
}

/** The fields of a message's, a user's or topic's, or a device's event. */
export interface EventData {
  readonly seq?: number;
  readonly epoch?: string;
  readonly acceptedAt?: string;
  readonly channel?: string;
  readonly reason?: string | { readonly code: string; readonly message: string };
  readonly version?: number;
  readonly device?: string;
  readonly platform?: string;
  readonly outcome?: string;
}

/** As scripts/includes/messages/collapse-messages writes it. */
const COLLAPSED = "PETREL_COLLAPSED";

export function describeEvent(id: string, event: StoredEvent): EventItem {
  const topic = topicOfRecipient(event.who);
  const traceId = parseTraceContext(event.trace)?.traceId;
  const isOfMessage = event.type.startsWith("message.");
  return {
    id,
    type: event.type,
    at: formatMs(event.atMs),
    ...(topic === undefined ? { user: event.who } : { topic }),
    ...(isOfMessage ? { message: event.words[0] } : {}),
    data: describeData(event),
    ...(traceId === undefined ? {} : { traceId }),
  };
}

function describeData({ type, seq, epoch, words: [first, second, third, fourth] }: StoredEvent): EventData {
  switch (type) {
    case "user.online":
    case "user.offline":
    case "topic.occupied":
    case "topic.vacated":
      return { version: Number(first) };
    case "device.invalidated":
      return { device: first, platform: second, reason: third, outcome: fourth };
    default: {
      const hasNumber = seq !== "" && seq !== "0";
      return {
        ...(hasNumber ? { seq: Number(seq), epoch } : {}),
        ...(second === "" ? {} : { acceptedAt: formatMs(Number(second)) }),
        ...(type === "message.pushed" && third !== "" ? { channel: third } : {}),
        ...(type === "message.failed" ? { reason: { code: third, message: fourth } } : {}),
        ...(type === "message.expired" && third === COLLAPSED ? { reason: collapsedReason } : {}),
      };
    }
  }
}

export const collapsedReason = {
  code: COLLAPSED,
  message: "A newer message with the same collapse key took its place.",
} as const;

function formatMs(ms: number): string {
  return new Date(ms).toISOString();
}
