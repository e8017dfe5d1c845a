// web-channel -> here: a message as JSON for a browser to show.
// Guarantees: with `navigate` it is a declarative push message, which Safari shows by itself; without, a service worker
// shows it. The members are the same. `petrel` identifies the message to the SDK. Never longer than every push service
// must accept.
// https://www.w3.org/TR/push-api/ (declarative push messages), https://webkit.org/blog/16535/meet-declarative-web-push/
import { createHash } from "node:crypto";
import type { FallbackJob } from "../fallback-channel.js";
import { MAX_PLAINTEXT } from "./encrypt-payload.js";

export type BuiltPush =
  | { readonly ok: true; readonly text: Buffer }
  | { readonly ok: false; readonly reason: string };

interface Notification {
  readonly title: string;
  readonly body: string;
  readonly badge?: number;
  readonly web?: Readonly<Record<string, unknown>>;
}

/** Marks the JSON as declarative: the number of the Web Push RFC. */
const DECLARATIVE = 8030;

export function buildPush({ id, seq, epoch, notification, collapseKey }: FallbackJob): BuiltPush {
  let parsed: Notification;
  try {
    parsed = JSON.parse(notification) as Notification;
  } catch {
    return { ok: false, reason: "its notification is no JSON" };
  }
  const { title, body, badge, web = {} } = parsed;
  const isDeclarative = typeof web["navigate"] === "string";
  const tag = collapseKey === undefined ? {} : { tag: collapseKey };
  const text = Buffer.from(
    JSON.stringify({
      // `mutable` lets a service worker, if there is one, change it.
      ...(isDeclarative ? { web_push: DECLARATIVE, mutable: true } : {}),
      notification: { title, body, ...tag, ...web },
      ...(badge === undefined ? {} : { app_badge: badge }),
      petrel: { id, seq, epoch },
    }),
  );
  if (text.length > MAX_PLAINTEXT) {
    return { ok: false, reason: `too large: ${text.length} bytes as a push message, of ${MAX_PLAINTEXT}` };
  }
  return { ok: true, text };
}

/** The header Topic: of pushes with one topic that a browser has not fetched yet, the service keeps only the last. */
export function topicOf(collapseKey: string): string {
  return createHash("sha256").update(collapseKey).digest("base64url").slice(0, 32);
}
