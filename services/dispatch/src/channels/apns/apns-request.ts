// send-to-device -> here -> build-payload, apns-pool: a message for one phone, as a request to Apple.
// Guarantees: the same message and device give the same apns-id and collapse id at every attempt and in every process,
// so the phone shows it once. A request that Apple would refuse for its form is refused here, with the reason.
import { createHash } from "node:crypto";
import { apnsPushTypes, type ApnsPushType, suffixOf } from "@petrel/shared/protocol/messages/apns-overrides";
import type { IosDevice } from "@petrel/shared/protocol/fallback/device";
import type { Priority } from "@petrel/shared/protocol/messages/stored-message";
import type { ApnsRequest } from "./connection/apns-exchange.js";
import { buildPayload, type ApnsNotification } from "./build-payload.js";

export interface ApnsRequestInput {
  readonly message: {
    readonly id: string;
    readonly priority: Priority;
    /** ms since 1970. */
    readonly expiresAtMs: number;
    /** JSON text. */
    readonly notification: string;
    readonly collapseKey?: string | undefined;
  };
  readonly device: Pick<IosDevice, "id" | "token" | "topic">;
}

export type BuiltApnsRequest =
  | { readonly ok: true; readonly request: ApnsRequest }
  /** It can never be sent: this message does not work on this device. */
  | { readonly ok: false; readonly reason: string };

const priorityOf: Readonly<Record<Priority, 10 | 5 | 1>> = Object.freeze({ high: 10, normal: 5, low: 1 });

export function buildApnsRequest({ message, device }: ApnsRequestInput): BuiltApnsRequest {
  const notification = parseNotification(message.notification);
  if (notification === undefined) return { ok: false, reason: "the notification cannot be read" };
  const pushType = notification.apns?.pushType ?? "alert";
  const payload = buildPayload(message.id, notification, pushType);
  if (!payload.ok) return payload;
  return {
    ok: true,
    request: {
      path: `/3/device/${device.token}`,
      headers: {
        "apns-id": apnsIdOf(message.id, device.id),
        "apns-topic": device.topic,
        "apns-push-type": pushType,
        "apns-priority": String(priorityFor(pushType, notification.apns?.priority, message.priority)),
        "apns-expiration": String(expirationFor(pushType, message.expiresAtMs)),
        // https://developer.apple.com/documentation/pushtotalk: such pushes are never collapsed.
        ...(pushType === "pushtotalk"
          ? {}
          : { "apns-collapse-id": collapseIdOf(message.collapseKey ?? message.id) }),
      },
      body: payload.body,
    },
  };
}

/** RFC 9562 5.8, version 8: 122 bits of a SHA-256 over both ids. Version 5 would require SHA-1. */
export function apnsIdOf(messageId: string, deviceId: string): string {
  const bytes = createHash("sha256")
    .update(`petrel apns-id\0${messageId}\0${deviceId}`)
    .digest()
    .subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** @returns the key if it has 1 to 64 bytes that a header may hold, else its SHA-256, 43 characters */
export function collapseIdOf(key: string): string {
  return /^[\x21-\x7e]{1,64}$/.test(key) ? key : createHash("sha256").update(key).digest("base64url");
}

/**
 * Apple issues a separate token for each topic, so a VoIP push to the alert token is refused as a bad token.
 * https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
 * @param notification JSON text; one that cannot be parsed counts as an alert
 * @returns whether a device registered with this topic accepts such a push
 */
export function fitsPushType(topic: string, notification: string): boolean {
  const pushType = parseNotification(notification)?.apns?.pushType ?? "alert";
  return suffixOf(topic) === apnsPushTypes[pushType];
}

function priorityFor(
  pushType: ApnsPushType,
  asked: 10 | 5 | 1 | undefined,
  messagePriority: Priority,
): 10 | 5 | 1 {
  // A call or speech is useless later.
  if (pushType === "pushtotalk") return 10;
  if (pushType === "voip") return asked ?? 10;
  const priority = asked ?? priorityOf[messagePriority];
  return pushType === "background" && priority === 10 ? 5 : priority;
}

/** In seconds, rounded down: not shown after the message has expired. 0 tells Apple not to store it. */
function expirationFor(pushType: ApnsPushType, expiresAtMs: number): number {
  return pushType === "pushtotalk" ? 0 : Math.max(1, Math.floor(expiresAtMs / 1000));
}

function parseNotification(text: string): ApnsNotification | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
