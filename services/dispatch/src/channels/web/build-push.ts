// web-channel -> here: what a browser shows of a message, as JSON.
// Guarantees: with `navigate` it is a declarative push message, which Safari shows by itself; without, a service worker
// shows it. The members are the same. `petrel` names the message to the SDK. Nothing longer than a push service must take.
//
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

/** So that it is told from other JSON: the number of the RFC of Web Push. */
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
      // Where there is a service worker, it is asked too.
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

/** The header Topic: of pushes with one topic that a browser has not fetched, the service keeps the last. */
export function topicOf(collapseKey: string): string {
  return createHash("sha256").update(collapseKey).digest("base64url").slice(0, 32);
}
