// prepare-messages -> here: tells whether two messages with the same idempotency key have the same content.
// Guarantees: the order of an object's members does not matter; everything else does.
import { hash } from "node:crypto";

/** The content of a message: everything in a request except its recipients and its key. */
export interface MessageContent {
  readonly data: unknown;
  readonly ttlSeconds: number;
  readonly priority: string;
  readonly fallback: string;
  readonly notification?: unknown;
  readonly collapseKey?: string | undefined;
  readonly deliverAtMs?: number | undefined;
  readonly channels?: readonly string[] | undefined;
}

/** @returns the SHA-256 of the content's canonical JSON: 43 characters of base64url */
export function fingerprintMessage(content: MessageContent): string {
  const {
    data,
    ttlSeconds,
    priority,
    fallback,
    notification = null,
    collapseKey,
    deliverAtMs,
    channels,
  } = content;
  const parts: unknown[] = [data, ttlSeconds, priority, fallback, notification];
  // Omitted if absent, because fingerprints are compared with those of releases without collapse keys.
  if (collapseKey !== undefined) parts.push(collapseKey);
  // An object, to tell it from a collapse key, which is a string.
  if (deliverAtMs !== undefined) parts.push({ deliverAt: deliverAtMs });
  // A set: their order means nothing.
  if (channels !== undefined) parts.push({ channels: channels.toSorted() });
  return hash("sha256", canonicalJson(parts), "base64url");
}

/**
 * JSON text whose objects have their members sorted by UTF-16 code units (as RFC 8785 does).
 * @param value as JSON.parse gives it, at most a few hundred levels deep
 */
export function canonicalJson(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  const object = value as Readonly<Record<string, unknown>>;
  const members = Object.keys(object)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonicalJson(object[name])}`);
  return `{${members.join(",")}}`;
}
