// apns-request -> here: the JSON that a phone gets.
// Guarantees: `aps` comes from the notification, overridden by the sender's `apns.aps`; `petrel.id` is the message's id, by
// which the app recognises it in its inbox; never larger than Apple takes.
import { makeWellFormed } from "@petrel/shared/protocol/messages/well-formed-json";
import type { ApnsOverrides, ApnsPushType } from "@petrel/shared/protocol/messages/apns-overrides";

/** A request's `notification`, as it was checked. */
export interface ApnsNotification {
  readonly title?: string;
  readonly body?: string;
  readonly badge?: number;
  readonly sound?: string;
  readonly apns?: ApnsOverrides;
}

export type BuiltPayload =
  | { readonly ok: true; readonly body: Buffer }
  | { readonly ok: false; readonly reason: string };

/** https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns */
const MAX_BYTES = 4_096;
const MAX_VOIP_BYTES = 5_120;

export function buildPayload(
  messageId: string,
  notification: ApnsNotification,
  pushType: ApnsPushType,
): BuiltPayload {
  const { apns = {} } = notification;
  const aps = pushType === "background" ? backgroundAps(apns) : visibleAps(notification, apns);
  // A text that was cut by length may end in half an emoji, which Apple does not take.
  const text = makeWellFormed(JSON.stringify({ aps, ...apns.data, petrel: { id: messageId } }));
  const body = Buffer.from(text);
  const maxBytes = pushType === "voip" ? MAX_VOIP_BYTES : MAX_BYTES;
  return body.length <= maxBytes
    ? { ok: true, body }
    : { ok: false, reason: `the payload is ${body.length} bytes, at most ${maxBytes} are allowed` };
}

/** Nothing that is seen or heard: with that Apple would not take it for a background push. */
function backgroundAps({ aps = {} }: ApnsOverrides): Readonly<Record<string, unknown>> {
  const { alert: _alert, sound: _sound, badge: _badge, ...rest } = aps;
  return { ...rest, "content-available": 1 };
}

function visibleAps(
  { title, body, badge, sound }: ApnsNotification,
  { aps = {} }: ApnsOverrides,
): Readonly<Record<string, unknown>> {
  const { alert, ...rest } = aps;
  return {
    // JSON leaves out what is undefined.
    alert: { title, body, ...alert },
    badge,
    sound,
    ...rest,
  };
}
