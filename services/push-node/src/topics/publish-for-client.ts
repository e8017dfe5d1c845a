// push-node/topics/handle-topic-frames -> here -> topics/topic-publisher: what a client publishes.
// Guarantees: both the token and the topic's rule allow it. A user publishes at most as fast as the rule says, in the
// cluster. With an idempotency key a retry is the same message. `published` is sent when the message is stored as
// durably as a producer's.
import { hash } from "node:crypto";
import { describeError, PetrelError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { NO_TRACING, type Tracing } from "@petrel/shared/kernel/tracing/tracing";
import type { PublishFrame } from "@petrel/shared/protocol/frames/client-frames";
import { NO_IDENTITY } from "@petrel/shared/protocol/messages/stored-message";
import { hasInfinity } from "@petrel/shared/protocol/messages/has-infinity";
import { isGranted } from "@petrel/shared/protocol/topics/topic-grants";
import { isTopicName, partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { PublishResult, TopicMessageToPublish } from "@petrel/shared/redis/topics/topic-publisher";
import type { Connection } from "../connection/connection.js";
import { keyedClientMessageId, randomClientMessageId } from "./client-message-id.js";
import { refuseTopicFrame, type TopicRefusal } from "./refuse-topic-frame.js";

export interface PublishForClientDeps {
  readonly publisher: { readonly publish: (message: TopicMessageToPublish) => Promise<PublishResult> };
  readonly partitionCount: number;
  readonly ruleOf: (topic: string) => TopicRule;
  /** @returns 0, or how many ms until this user may publish again under this rule */
  readonly takePublish: (userId: string, rule: TopicRule) => number;
  readonly tracing?: Tracing;
  readonly onPublished: (outcome: "published" | "duplicate" | "refused" | "failed") => void;
  readonly logger: Logger;
}

export type PublishForClient = (connection: Connection, frame: PublishFrame) => void;

const MAX_REF_LENGTH = 64;
const MAX_KEY_LENGTH = 256;
const MAX_DATA_BYTES = 64 * 1024;
/** UTF-8 takes at most this many bytes for one UTF-16 code unit. */
const MAX_BYTES_PER_UNIT = 3;

export function createPublishForClient(deps: PublishForClientDeps): PublishForClient {
  return (connection, frame) => {
    const data = JSON.stringify(frame.data);
    const rule = deps.ruleOf(frame.topic);
    const refusal = refusalOf(deps, connection, frame, data, rule);
    if (refusal === undefined) void publish(deps, connection, frame, data, rule);
    else {
      deps.onPublished("refused");
      connection.send(refuseTopicFrame("publish", frame.ref, refusal));
    }
  };
}

function refusalOf(
  { takePublish }: PublishForClientDeps,
  { grants, userId }: Connection,
  { ref, topic, idempotencyKey, data: value }: PublishFrame,
  data: string,
  rule: TopicRule,
): TopicRefusal | undefined {
  if (ref.length === 0 || ref.length > MAX_REF_LENGTH) {
    return invalid(`\`ref\` must have 1 to ${MAX_REF_LENGTH} characters.`);
  }
  if (!isTopicName(topic)) return invalid("This is not the name of a topic that a client may publish to.");
  if (idempotencyKey !== undefined && (idempotencyKey === "" || idempotencyKey.length > MAX_KEY_LENGTH)) {
    return invalid(`\`idempotencyKey\` must have 1 to ${MAX_KEY_LENGTH} characters.`);
  }
  if (!rule.clientPublish || !isGranted(grants, topic, "publish")) {
    return {
      code: "PETREL_FORBIDDEN",
      message: "Clients may not publish to this topic, or this token may not.",
    };
  }
  const isLarge = data.length * MAX_BYTES_PER_UNIT > MAX_DATA_BYTES;
  if (isLarge && Buffer.byteLength(data) > MAX_DATA_BYTES) {
    return { code: "PETREL_PAYLOAD_TOO_LARGE", message: `\`data\` is larger than ${MAX_DATA_BYTES} bytes.` };
  }
  // Such a number has become null, so texts without null need no search.
  if (data.includes("null") && hasInfinity(value)) {
    return invalid("A number is too large: numbers are IEEE 754 doubles (RFC 8259).");
  }
  const waitMs = takePublish(userId, rule);
  if (waitMs === 0) return undefined;
  return {
    code: "PETREL_RATE_LIMITED",
    message: `You publish too fast: try again in ${Math.max(1, Math.ceil(waitMs / 1_000))} s.`,
  };
}

function invalid(message: string): TopicRefusal {
  return { code: "PETREL_INVALID_REQUEST", message };
}

async function publish(
  deps: PublishForClientDeps,
  connection: Connection,
  { ref, topic, idempotencyKey }: PublishFrame,
  data: string,
  rule: TopicRule,
): Promise<void> {
  const { publisher, partitionCount, tracing = NO_TRACING, onPublished, logger } = deps;
  const { userId } = connection;
  const partition = partitionOfTopic(topic, partitionCount);
  const id =
    idempotencyKey === undefined
      ? randomClientMessageId(partition)
      : keyedClientMessageId(partition, userId, idempotencyKey, topic);
  const span = tracing.beginTrace("publish", undefined, {
    kind: "producer",
    attributes: {
      "messaging.system": "petrel",
      "messaging.message.id": id,
      "messaging.destination.partition.id": String(partition),
    },
  });
  const fingerprint = hash("sha256", data, "base64url");
  // Never retried by this node, so another attempt with this id is the client's own. The archive needs the record to
  // find the message's state, if this node dies before it has reported it.
  const isArchived = rule.archive;
  const record =
    idempotencyKey === undefined
      ? isArchived
        ? { record: { fingerprint: NO_IDENTITY, attempt: "client" } }
        : {}
      : { record: { fingerprint, attempt: "client" } };
  const { historySize: size, historyBytes: bytes } = rule;
  const ageMs = rule.historySeconds * 1_000;
  try {
    const result = await publisher.publish({
      topic,
      partition,
      id,
      ttlMs: ageMs,
      history: { size, ageMs, bytes },
      isArchived,
      from: userId,
      data,
      trace: span?.context,
      ...record,
    });
    const duplicate = result.outcome === "exists";
    if (duplicate && result.record.fingerprint !== fingerprint) {
      onPublished("refused");
      const message = "The idempotency key was used before with different data.";
      connection.send(refuseTopicFrame("publish", ref, { code: "PETREL_IDEMPOTENCY_MISMATCH", message }));
      return;
    }
    onPublished(duplicate ? "duplicate" : "published");
    const { epoch } = duplicate ? result.record : result;
    const offset = duplicate ? result.record.seq : result.offset;
    connection.send({ type: "published", ref, id, topic, epoch, offset, duplicate });
  } catch (error) {
    span?.fail(describeError(error));
    onPublished("failed");
    logger.debug(
      { connection: connection.id, reason: describeError(error) },
      "client's message not published",
    );
    const message =
      error instanceof PetrelError
        ? error.message
        : "It is not known whether this was published: with an idempotency key it is safe to send it again.";
    connection.send(refuseTopicFrame("publish", ref, { code: "PETREL_UNAVAILABLE", message }));
  } finally {
    span?.end();
  }
}
