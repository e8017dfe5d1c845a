// message-routes -> here: a message's state and timeline, in the contract's terms.
// Guarantees: the timeline ascends and has every end that was reached and every attempt of a fallback channel. A time
// that is only an upper bound is marked.
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import type { DeadLetterCause } from "@petrel/shared/protocol/fallback/dead-letter-causes";
import type { FallbackAttempt } from "@petrel/shared/protocol/fallback/fallback-attempt";
import { BROADCAST_TOPIC, topicOfRecipient } from "@petrel/shared/protocol/topics/topic-name";
import {
  type FoundMessage,
  type FoundUserMessage,
  isUnnumbered,
  type PublishedMessage,
  type UnnumberedMessage,
} from "@petrel/shared/redis/inbox/read-message";
import type { Static } from "typebox";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { explanationSchema } from "./explanation-schema.js";

export const messageStateSchema = Type.Object(
  {
    id: Type.String(),
    to: Type.Object(
      {
        user: Type.Optional(Type.String()),
        topic: Type.Optional(Type.String()),
        all: Type.Optional(Type.Literal(true)),
      },
      { description: "Exactly one of the three." },
    ),
    state: Type.String({
      description: "scheduled, queued, or an end: delivered, pushed, published, expired, cancelled, failed.",
    }),
    seq: Type.Optional(Type.Integer({ description: "Its place in the user's sequence." })),
    topic: Type.Optional(Type.String({ description: "For `published`: the topic; `$all` for a broadcast." })),
    epoch: Type.Optional(
      Type.String({
        description:
          "The epoch of the user's sequence, or the topic's. Absent while the message has no number.",
      }),
    ),
    offset: Type.Optional(Type.Integer({ description: "For `published`: its place in the topic." })),
    acceptedAt: timeSchema,
    expiresAt: timeSchema,
    deliverAt: Type.Optional(
      Type.String({ format: "date-time", description: "For `scheduled`: when it is due." }),
    ),
    reason: Type.Optional(
      Type.Object(
        {
          code: Type.String({
            description:
              "With failed: rejected, attempts-exhausted, misconfigured, inbox-full. With expired: PETREL_COLLAPSED.",
          }),
          message: Type.String({ description: "Human-readable." }),
        },
        {
          description:
            "With `failed`: why the fallback failed, or that the inbox was full. With `expired`: why, unless its TTL was over.",
        },
      ),
    ),
    timeline: Type.Array(
      Type.Object({
        at: timeSchema,
        event: Type.String({ description: "accepted, attempt, or an end." }),
        approximate: Type.Optional(
          Type.Boolean({ description: "`at` is an upper bound: it happened then or earlier." }),
        ),
        channel: Type.Optional(
          Type.String({ description: "With `attempt` and `pushed`: the fallback channel." }),
        ),
        outcome: Type.Optional(
          Type.String({ description: "With `attempt`: taken, no-device, superseded, retry or failed." }),
        ),
        reason: Type.Optional(
          Type.String({ description: "With `attempt`: why the channel did not take it." }),
        ),
        details: Type.Optional(
          Type.Record(Type.String(), Type.String(), {
            description: "With `attempt`: details from the channel.",
          }),
        ),
      }),
    ),
    explanation: Type.Optional(explanationSchema),
  },
  { title: "MessageState" },
);

export type MessageStateAnswer = Static<typeof messageStateSchema>;
type TimelineEvent = MessageStateAnswer["timeline"][number];

/** As scripts/includes/messages/collapse-messages writes it. */
const COLLAPSED = "PETREL_COLLAPSED";
const collapsedReason = {
  code: COLLAPSED,
  message: "A newer message with the same collapse key took its place.",
} as const;

const generalReasons: Readonly<Record<DeadLetterCause, string>> = {
  rejected: "The fallback channel refused the message.",
  "attempts-exhausted": "Every attempt of the fallback failed.",
  misconfigured: "The fallback channel is misconfigured.",
  "inbox-full": "The user's inbox was full when the message was due.",
};

/** @param attempts by fallback channels, oldest first */
export function describeMessage(
  id: string,
  found: FoundMessage,
  attempts: readonly FallbackAttempt[],
): MessageStateAnswer {
  if (isUnnumbered(found)) return describeUnnumbered(id, found);
  return found.state === "published" ? describePublished(id, found) : describeSent(id, found, attempts);
}

/** It waits for its time, or ended without a number, so it has no sequence or topic. */
function describeUnnumbered(id: string, { record, state }: UnnumberedMessage): MessageStateAnswer {
  const { userId: recipient, end, deliverAtMs } = record;
  const topic = topicOfRecipient(recipient);
  const acceptedAt = formatTime(record.atMs);
  return {
    id,
    to: topic === undefined ? { user: recipient } : topic === BROADCAST_TOPIC ? { all: true } : { topic },
    state,
    acceptedAt,
    expiresAt: formatTime(record.expiresAtMs),
    ...(deliverAtMs === undefined ? {} : { deliverAt: formatTime(deliverAtMs) }),
    ...describeReason(state, end?.word, []),
    timeline: [
      { at: acceptedAt, event: "accepted" },
      ...(end === undefined ? [] : [{ at: formatTime(end.atMs), event: end.state }]),
    ],
  };
}

function describePublished(
  id: string,
  { record, state, topic, publishedAtMs = record.atMs }: PublishedMessage,
): MessageStateAnswer {
  const acceptedAt = formatTime(record.atMs);
  return {
    id,
    to: topic === BROADCAST_TOPIC ? { all: true } : { topic },
    state,
    topic,
    epoch: record.epoch,
    offset: record.seq,
    acceptedAt,
    expiresAt: formatTime(record.expiresAtMs),
    timeline: [
      { at: acceptedAt, event: "accepted" },
      { at: formatTime(publishedAtMs), event: state },
    ],
  };
}

function describeSent(
  id: string,
  found: FoundUserMessage,
  attempts: readonly FallbackAttempt[],
): MessageStateAnswer {
  const { record, state } = found;
  return {
    id,
    to: { user: record.userId },
    state,
    seq: record.seq,
    epoch: record.epoch,
    acceptedAt: formatTime(record.atMs),
    expiresAt: formatTime(record.expiresAtMs),
    ...describeReason(state, record.end?.word, attempts),
    timeline: describeTimeline(found, attempts),
  };
}

function describeTimeline(
  { record, state, stateAtMs, stateAtIsUpperBound }: FoundUserMessage,
  attempts: readonly FallbackAttempt[],
): TimelineEvent[] {
  const { end } = record;
  const events: { readonly atMs: number; readonly event: Omit<TimelineEvent, "at"> }[] = [
    { atMs: record.atMs, event: { event: "accepted" } },
    ...attempts.map(({ atMs, ...attempt }) => ({ atMs, event: { event: "attempt", ...attempt } })),
  ];
  if (end !== undefined) {
    const { state: event, atMs, word: channel } = end;
    const isPushed = event === "pushed" && channel !== undefined;
    events.push({ atMs, event: isPushed ? { event, channel } : { event } });
  }
  // The record does not know about acknowledgements: the cursor does, even after a push or a failure.
  if (state !== "queued" && state !== end?.state) {
    // Acknowledged at an unknown time: now is the upper bound.
    const atMs = stateAtMs ?? Date.now();
    const isApproximate = stateAtIsUpperBound || stateAtMs === undefined;
    events.push({ atMs, event: isApproximate ? { event: state, approximate: true } : { event: state } });
  }
  return events
    .sort((a, b) => a.atMs - b.atMs)
    .map(({ atMs, event }) => ({ at: formatTime(atMs), ...event }));
}

/**
 * Why a message failed, or expired early.
 * @param word of its end, from the record
 */
export function describeReason(
  state: string,
  word: string | undefined,
  attempts: readonly FallbackAttempt[],
): Pick<MessageStateAnswer, "reason"> {
  if (state === "failed") return { reason: describeFailure(word, attempts) };
  return state === "expired" && word === COLLAPSED ? { reason: collapsedReason } : {};
}

function describeFailure(
  word: string | undefined,
  attempts: readonly FallbackAttempt[],
): { readonly code: string; readonly message: string } {
  const code = word ?? "unknown";
  const last = attempts.findLast(({ reason }) => reason !== undefined)?.reason;
  const general = Object.hasOwn(generalReasons, code) ? generalReasons[code as DeadLetterCause] : undefined;
  return { code, message: [general, last].filter((part) => part !== undefined).join(" Last: ") };
}
