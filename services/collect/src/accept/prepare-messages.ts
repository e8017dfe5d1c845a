// message-routes, batch-routes -> here -> accept-with-retry: a request's messages for its recipients, and their
// results.
// Guarantees: every recipient's message has its id before anything is stored. A message for a list gets one answer, or
// an error that names what was stored. Messages fail independently.
import { randomBytes } from "node:crypto";
import type { Clock } from "@petrel/shared/kernel/clock";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { NO_TRACING, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { NO_IDENTITY } from "@petrel/shared/protocol/messages/stored-message";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { partitionOfTopic, recipientOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { Producer } from "@petrel/shared/security/producers/authenticate-producer";
import type { AcceptWithRetry } from "./accept-with-retry.js";
import type { Acceptance } from "./acceptance.js";
import type { AcceptedAnswer } from "../contract/answer-schema.js";
import { type CheckedMessage, countRecipients } from "../contract/check-message.js";
import { fingerprintMessage } from "./message-fingerprint.js";
import { keyedMessageId, RandomMessageIds } from "./message-id.js";
import type { MessageToStore } from "./store-message.js";
import { traceAcceptance, type TracedAcceptance } from "./trace-acceptance.js";

export interface RequestAcceptanceOptions {
  readonly messages: AcceptWithRetry;
  /** How much of each topic is kept. */
  readonly topicRules: { ruleOf(topic: string): TopicRule };
  readonly partitionCount: number;
  /** How long a request may wait for all of its messages. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  /** Off by default. */
  readonly tracing?: Tracing | undefined;
}

export class RequestAcceptance {
  readonly #options: RequestAcceptanceOptions;
  readonly #randomIds = new RandomMessageIds();
  // Unique to this process; with a counter it identifies each attempt.
  readonly #attemptPrefix = randomBytes(9).toString("base64url");
  #attempts = 0;

  constructor(options: RequestAcceptanceOptions) {
    this.#options = options;
  }

  /**
   * @param traceparent the request's header of that name, unvalidated
   * @returns one answer or error for each, in order
   */
  async accept(
    producer: Producer,
    requested: readonly CheckedMessage[],
    traceparent?: unknown,
  ): Promise<(AcceptedAnswer | PetrelError)[]> {
    const { messages, clock, deadlineMs, tracing = NO_TRACING } = this.#options;
    const all: MessageToStore[] = [];
    const recipients = requested.reduce((sum, message) => sum + countRecipients(message), 0);
    const traced = traceAcceptance(tracing, traceparent, recipients);
    for (const message of requested) this.#prepare(producer, message, all, traced);
    const outcomes = await messages.accept(all, clock.monotonicMs() + deadlineMs);
    traced?.end(outcomes);
    let next = 0;
    return requested.map(({ to }) => {
      const from = next;
      if (to.topic !== undefined || !to.isList) {
        next++;
        return answerOne(all[from], outcomes[from]);
      }
      next += to.users.length;
      return answerList(to.users, all.slice(from, next), outcomes.slice(from, next));
    });
  }

  #prepare(
    producer: Producer,
    message: CheckedMessage,
    into: MessageToStore[],
    traced: TracedAcceptance | undefined,
  ): void {
    const { to, data, ttlMs, deliverAtMs, fallback, priority, notification, collapseKey, keyed } = message;
    let [fingerprint, attempt] = [NO_IDENTITY, NO_IDENTITY];
    if (keyed !== undefined) {
      fingerprint = fingerprintMessage({ ...keyed, fallback, deliverAtMs });
      attempt = `${this.#attemptPrefix}${(this.#attempts++).toString(36)}`;
    }
    const { partitionCount, topicRules } = this.#options;
    const nameFor = (partition: number, recipient: string): string =>
      keyed === undefined
        ? this.#randomIds.next(partition)
        : keyedMessageId(partition, producer.owner, keyed.idempotencyKey, recipient);

    if (to.topic !== undefined) {
      const { topic } = to;
      const partition = partitionOfTopic(topic, partitionCount);
      const id = nameFor(partition, recipientOfTopic(topic));
      const trace = traced?.begin({ id, partition, priority });
      const { historySize, historySeconds, historyBytes, archive } = topicRules.ruleOf(topic);
      const history = { size: historySize, ageMs: historySeconds * 1_000, bytes: historyBytes };
      into.push({
        topic,
        partition,
        id,
        ttlMs,
        deliverAtMs,
        history,
        isArchived: archive,
        record: { fingerprint, attempt },
        from: "",
        data,
        trace,
      });
      return;
    }
    for (const userId of to.users) {
      const partition = partitionOfUser(userId, partitionCount);
      const id = nameFor(partition, userId);
      const trace = traced?.begin({ id, partition, priority });
      into.push({
        userId,
        partition,
        id,
        ttlMs,
        deliverAtMs,
        fingerprint,
        attempt,
        data,
        fallback,
        priority,
        notification,
        collapseKey,
        trace,
      });
    }
  }
}

function answerOne(
  message: MessageToStore | undefined,
  acceptance: Acceptance | undefined,
): AcceptedAnswer | PetrelError {
  if (message === undefined || acceptance === undefined) throw new Error("a message has no outcome");
  switch (acceptance.outcome) {
    case "accepted":
      return { id: message.id, duplicate: acceptance.duplicate };
    case "mismatch":
      return mismatchError();
    case "inbox-full":
      return inboxFullError();
    case "schedules-full":
      return schedulesFullError();
    case "limited":
      return limitedError(acceptance.retryAfterMs);
    case "unavailable":
      return acceptance.error;
  }
}

/**
 * All stored, or the most telling error: first what no retry can change, then what a retry may, then what an ack may.
 */
function answerList(
  users: readonly string[],
  messages: readonly MessageToStore[],
  outcomes: readonly Acceptance[],
): AcceptedAnswer | PetrelError {
  const results: { user: string; id: string; duplicate: boolean }[] = [];
  const mismatched: string[] = [];
  const full: string[] = [];
  let isForLater = false;
  const limited: string[] = [];
  let limitedForMs = 0;
  let unavailable: PetrelError | undefined;
  for (const [i, { id }] of messages.entries()) {
    const [userId = "", acceptance] = [users[i], outcomes[i]];
    if (acceptance?.outcome === "accepted")
      results.push({ user: userId, id, duplicate: acceptance.duplicate });
    else if (acceptance?.outcome === "mismatch") mismatched.push(userId);
    else if (acceptance?.outcome === "inbox-full") full.push(userId);
    else if (acceptance?.outcome === "schedules-full") {
      full.push(userId);
      isForLater = true;
    } else if (acceptance?.outcome === "limited") {
      limited.push(userId);
      limitedForMs = Math.max(limitedForMs, acceptance.retryAfterMs);
    } else unavailable ??= acceptance?.error;
  }
  if (results.length === messages.length) return { results };
  const details = {
    stored: results.map(({ user, id }) => ({ user, id })),
    ...(mismatched.length === 0 ? {} : { mismatched }),
    ...(full.length === 0 ? {} : { full }),
    ...(limited.length === 0 ? {} : { limited }),
  };
  if (mismatched.length > 0) return mismatchError(details);
  if (unavailable === undefined) {
    if (limited.length > 0) return limitedError(limitedForMs, details);
    return isForLater ? schedulesFullError(details) : inboxFullError(details);
  }
  const { code, message, cause, retryAfterSeconds } = unavailable;
  return new PetrelError(code, message, { cause, details, retryAfterSeconds });
}

type Details = Readonly<Record<string, unknown>>;

function mismatchError(details?: Details): PetrelError {
  return new PetrelError(
    "PETREL_IDEMPOTENCY_MISMATCH",
    "The idempotency key was used before with different content.",
    { details },
  );
}

function inboxFullError(details?: Details): PetrelError {
  return new PetrelError("PETREL_INBOX_FULL", "The user's inbox is full. Nothing was stored.", {
    details,
  });
}

/**
 * The details distinguish it from a full inbox: scheduled messages make room when their time comes, not by an
 * acknowledgement.
 */
function schedulesFullError(details?: Details): PetrelError {
  return new PetrelError(
    "PETREL_INBOX_FULL",
    "This recipient has the maximum number of scheduled messages. Nothing was stored.",
    { details: { ...details, scheduled: true } },
  );
}

/** In the details too, because an entry of a batch has no headers. */
function limitedError(retryAfterMs: number, details?: Details): PetrelError {
  const retryAfterSeconds = Math.max(1, Math.ceil(retryAfterMs / 1_000));
  return new PetrelError(
    "PETREL_RATE_LIMITED",
    "The user has reached the limit of received messages for now. Nothing was stored.",
    { retryAfterSeconds, details: { ...details, retryAfterSeconds } },
  );
}
