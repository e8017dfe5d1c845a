// message-routes, batch-routes -> here -> prepare-messages: rules for a message that its schema cannot express.
// Guarantees: the result can be stored as it is: one kind of recipient with only the fields that it may have, a time at
// most 30 days ahead, data within its limit.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { checkApnsOverrides } from "@petrel/shared/protocol/messages/apns-overrides";
import { joinNotification } from "@petrel/shared/protocol/messages/notification-text";
import type { FallbackPolicy, Priority } from "@petrel/shared/protocol/messages/stored-message";
import { BROADCAST_TOPIC } from "@petrel/shared/protocol/topics/topic-name";
import { fallbackOf, type MessageBody } from "./message-schema.js";
import { parseTime } from "@petrel/shared/kernel/schemas/parse-time";

const MAX_DATA_BYTES = 64 * 1024;
const MAX_AHEAD_MS = 30 * 24 * 60 * 60 * 1_000;
const MAX_NOTIFICATION_BYTES = 8 * 1024;
/** UTF-8 takes at most this many bytes for one UTF-16 code unit. */
const MAX_BYTES_PER_UNIT = 3;

/** Whom a message is for. */
export type Recipients =
  /** `isList`: the request named a list, so the answer is one too. */
  | { readonly users: readonly string[]; readonly isList: boolean; readonly topic?: undefined }
  /** A topic's name, or `$all`. */
  | { readonly topic: string };

/** A message that may be stored. */
export interface CheckedMessage {
  readonly to: Recipients;
  /** The body, if it has an idempotency key: a repeat must have the same content. */
  readonly keyed: KeyedBody | undefined;
  /** `data` as JSON text. */
  readonly data: string;
  /** `notification` as JSON text, with `channels` and `collapseKey` if given; "" if there is none. */
  readonly notification: string;
  readonly fallback: FallbackPolicy;
  readonly priority: Priority;
  readonly ttlMs: number;
  /** Not before this time. */
  readonly deliverAtMs: number | undefined;
  readonly collapseKey: string | undefined;
}

export type KeyedBody = MessageBody & { readonly idempotencyKey: string };

/**
 * @param body fits messageSchema
 * @param nowMs limits how far ahead its time may lie; whether it has come is decided by Redis
 * @throws PetrelError PETREL_INVALID_REQUEST or PETREL_PAYLOAD_TOO_LARGE
 */
export function checkMessage(body: MessageBody, nowMs = Date.now()): CheckedMessage {
  const to = readRecipients(body.to);
  if (to.topic !== undefined) refusePhoneFields(body);
  const deliverAtMs = body.deliverAt === undefined ? undefined : readDeliverAt(body.deliverAt, nowMs);
  const data = JSON.stringify(body.data);
  refuseLargerThan(data, MAX_DATA_BYTES, "data");
  const notification = body.notification === undefined ? "" : JSON.stringify(body.notification);
  refuseLargerThan(notification, MAX_NOTIFICATION_BYTES, "notification");
  refuseBadOverrides(body);
  return {
    to,
    keyed: hasKey(body) ? body : undefined,
    data,
    notification: joinNotification(notification, body),
    fallback: fallbackOf(body),
    priority: body.priority,
    ttlMs: body.ttlSeconds * 1_000,
    deliverAtMs,
    collapseKey: body.collapseKey,
  };
}

function hasKey(body: MessageBody): body is KeyedBody {
  return body.idempotencyKey !== undefined;
}

/** @param data JSON text */
export function fitsAsData(data: string): boolean {
  return fits(data, MAX_DATA_BYTES);
}

/** How many messages it counts as: a topic is one recipient. */
export function countRecipients({ to }: CheckedMessage): number {
  return to.topic === undefined ? to.users.length : 1;
}

function readRecipients({ user, users, topic, all }: MessageBody["to"]): Recipients {
  const named =
    Number(user !== undefined) +
    Number(users !== undefined) +
    Number(topic !== undefined) +
    Number(all === true);
  if (named !== 1) {
    const field = "body/to";
    throw new PetrelError(
      "PETREL_INVALID_REQUEST",
      `${field}: must have exactly one of user, users, topic, all`,
      { details: { field } },
    );
  }
  if (all === true) return { topic: BROADCAST_TOPIC };
  return topic === undefined ? { users: users ?? [user ?? ""], isList: users !== undefined } : { topic };
}

/** A topic has no phone: fields that only a fallback channel reads are refused, even with their default value. */
function refusePhoneFields({ fallback, notification, collapseKey, channels }: MessageBody): void {
  const name =
    (fallback !== undefined && "fallback") ||
    (notification !== undefined && "notification") ||
    (collapseKey !== undefined && "collapseKey") ||
    (channels !== undefined && "channels");
  if (name === false) return;
  const field = `body/${name}`;
  throw new PetrelError(
    "PETREL_INVALID_REQUEST",
    `${field}: not allowed with to.topic or to.all, which reach no phone`,
    { details: { field } },
  );
}

/** @param deliverAt an RFC 3339 time, see messageSchema */
function readDeliverAt(deliverAt: string, nowMs: number): number {
  const field = "body/deliverAt";
  const deliverAtMs = parseTime(deliverAt);
  if (deliverAtMs === undefined || deliverAtMs - nowMs > MAX_AHEAD_MS) {
    const problem = deliverAtMs === undefined ? "is not a time" : "is more than 30 days ahead";
    throw new PetrelError("PETREL_INVALID_REQUEST", `${field}: ${problem}`, { details: { field } });
  }
  return deliverAtMs;
}

/** WeChat's own names. The channel checks their values, which depend on the app and the template. */
const WECHAT_NAMES: ReadonlySet<string> = new Set([
  "appid",
  "template_id",
  "data",
  "url",
  "miniprogram",
  "page",
  "miniprogram_state",
  "lang",
]);

/** Refused here, where the sender can correct it, instead of later as a dead letter. */
function refuseBadOverrides({ notification }: MessageBody): void {
  if (notification === undefined) return;
  const unknown = Object.keys(notification.wechat ?? {}).find((name) => !WECHAT_NAMES.has(name));
  if (unknown !== undefined) {
    const field = `body/notification/wechat/${unknown}`;
    throw new PetrelError("PETREL_INVALID_REQUEST", `${field}: WeChat has no such field`, {
      details: { field },
    });
  }
  if (notification.apns === undefined) return;
  const problem = checkApnsOverrides(notification.apns);
  if (problem === undefined) return;
  const field = "body/notification/apns";
  throw new PetrelError("PETREL_INVALID_REQUEST", `${field}: ${problem}`, { details: { field } });
}

function fits(json: string, maxBytes: number): boolean {
  return json.length * MAX_BYTES_PER_UNIT <= maxBytes || Buffer.byteLength(json) <= maxBytes;
}

function refuseLargerThan(json: string, maxBytes: number, field: string): void {
  if (fits(json, maxBytes)) return;
  throw new PetrelError("PETREL_PAYLOAD_TOO_LARGE", `body/${field}: larger than ${maxBytes} bytes as JSON`, {
    details: { field: `body/${field}`, maxBytes },
  });
}
