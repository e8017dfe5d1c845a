// message-routes, batch-routes -> here -> prepare-messages: the rules for a message that its schema cannot say.
// Guarantees: the result can be stored as it is: one kind of recipient, only features that exist, data within its
// limit.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { checkApnsOverrides } from "@petrel/shared/protocol/messages/apns-overrides";
import { joinCollapseKey } from "@petrel/shared/protocol/messages/notification-text";
import type { FallbackPolicy, Priority } from "@petrel/shared/protocol/messages/stored-message";
import type { MessageBody } from "./message-schema.js";

const MAX_DATA_BYTES = 64 * 1024;
const MAX_NOTIFICATION_BYTES = 8 * 1024;
/** UTF-8 takes at most this many bytes for one UTF-16 code unit. */
const MAX_BYTES_PER_UNIT = 3;

/** A message that may be stored, for one user or for a list. */
export interface CheckedMessage {
  readonly users: readonly string[];
  /** Whether the request named a list, so that the answer is one too. */
  readonly isList: boolean;
  readonly body: MessageBody;
  /** `data` as JSON text. */
  readonly data: string;
  /** `notification` as JSON text, with `collapseKey` as its last member where there is one; "" where there is none. */
  readonly notification: string;
  readonly fallback: FallbackPolicy;
  readonly priority: Priority;
  readonly ttlMs: number;
}

/**
 * @param body fits messageSchema
 * @throws PetrelError PETREL_INVALID_REQUEST, PETREL_NOT_IMPLEMENTED or PETREL_PAYLOAD_TOO_LARGE
 */
export function checkMessage(body: MessageBody): CheckedMessage {
  const { user, users, topic, all } = body.to;
  const recipients =
    Number(user !== undefined) +
    Number(users !== undefined) +
    Number(topic !== undefined) +
    Number(all === true);
  if (recipients !== 1) {
    throw new PetrelError(
      "PETREL_INVALID_REQUEST",
      "body/to: must have exactly one of user, users, topic, all",
      {
        details: { field: "body/to" },
      },
    );
  }
  refuseNotBuilt(body);
  const data = JSON.stringify(body.data);
  refuseLargerThan(data, MAX_DATA_BYTES, "data");
  const notification = body.notification === undefined ? "" : JSON.stringify(body.notification);
  refuseLargerThan(notification, MAX_NOTIFICATION_BYTES, "notification");
  refuseBadOverrides(body);
  return {
    users: users ?? [user ?? ""],
    isList: users !== undefined,
    body,
    data,
    notification: joinCollapseKey(notification, body.collapseKey),
    fallback: body.fallback,
    priority: body.priority,
    ttlMs: body.ttlSeconds * 1_000,
  };
}

/** Fields of the contract that are not built yet: refused, never ignored. */
function refuseNotBuilt({ to, deliverAt }: MessageBody): void {
  const field =
    (to.topic !== undefined && "to/topic") ||
    (to.all !== undefined && "to/all") ||
    (deliverAt !== undefined && "deliverAt");
  if (field === false) return;
  throw new PetrelError("PETREL_NOT_IMPLEMENTED", `body/${field} is not built yet. Nothing was stored.`, {
    details: { field: `body/${field}` },
  });
}

/** Refused here, where the sender can correct it, instead of later as a dead letter. */
function refuseBadOverrides({ notification }: MessageBody): void {
  if (notification?.apns === undefined) return;
  const problem = checkApnsOverrides(notification.apns);
  if (problem === undefined) return;
  const field = "body/notification/apns";
  throw new PetrelError("PETREL_INVALID_REQUEST", `${field}: ${problem}`, { details: { field } });
}

function refuseLargerThan(json: string, maxBytes: number, field: string): void {
  if (json.length * MAX_BYTES_PER_UNIT <= maxBytes || Buffer.byteLength(json) <= maxBytes) return;
  throw new PetrelError("PETREL_PAYLOAD_TOO_LARGE", `body/${field}: larger than ${maxBytes} bytes as JSON`, {
    details: { field: `body/${field}`, maxBytes },
  });
}
