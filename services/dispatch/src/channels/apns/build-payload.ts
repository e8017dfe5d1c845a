// apns-request -> here: the JSON that a phone gets.
// Guarantees: `aps` comes from the notification, overridden by the sender's `apns.aps`. `petrel.id` is the message's
// id, so that the app recognises it in its inbox. Never larger than Apple accepts.
import { makeWellFormed } from "@petrel/shared/protocol/messages/well-formed-json";
import type { ApnsOverrides, ApnsPushType } from "@petrel/shared/protocol/messages/apns-overrides";

/** A request's `notification`, already validated. */
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
  // A text cut by length may end in half an emoji, which Apple refuses.
  const text = makeWellFormed(JSON.stringify({ aps, ...apns.data, petrel: { id: messageId } }));
  const body = Buffer.from(text);
  const maxBytes = pushType === "voip" ? MAX_VOIP_BYTES : MAX_BYTES;
  return body.length <= maxBytes
    ? { ok: true, body }
    : { ok: false, reason: `the payload is ${body.length} bytes, at most ${maxBytes} are allowed` };
}

/** Nothing visible or audible: Apple would refuse that in a background push. */
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
    // JSON omits members that are undefined.
    alert: { title, body, ...alert },
    badge,
    sound,
    ...rest,
  };
}
