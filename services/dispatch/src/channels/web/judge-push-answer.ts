// send-to-browser -> here: what a push service's answer means (RFC 8030, 8292, and the vendors' documentation).
// Guarantees: every status has one meaning; a subscription is forgotten only on its push service's own word.
import { parseRetryAfterMs } from "../parse-retry-after.js";

export type PushVerdict =
  | { readonly kind: "taken" }
  /** The subscription has ended. */
  | { readonly kind: "gone"; readonly reason: string }
  /** It may pass. `isFault`: the push service is failing; otherwise it works, but wants no more of these for now. */
  | {
      readonly kind: "retry";
      readonly reason: string;
      readonly afterMs: number | undefined;
      readonly isFault: boolean;
    }
  /** This server's key or its subject was refused. */
  | { readonly kind: "halted"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

const words: Readonly<Record<number, string>> = {
  400: "the push service calls the request wrong",
  401: "the push service does not accept our VAPID token",
  403: "the push service does not accept our VAPID key for this subscription",
  404: "the push service does not know the subscription",
  410: "the subscription is over",
  413: "the push service calls the message too large",
  429: "too many pushes",
};

/** @param nowMs for a Retry-After that is a date, ms since 1970 */
export function judgePushAnswer(status: number, retryAfter: string | null, nowMs: number): PushVerdict {
  const word = words[status];
  const reason = word === undefined ? `HTTP ${status}` : `HTTP ${status}: ${word}`;
  if (status >= 200 && status < 300) return { kind: "taken" };
  if (status === 404 || status === 410) return { kind: "gone", reason };
  if (status === 401 || status === 403) return { kind: "halted", reason };
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const afterMs = parseRetryAfterMs(retryAfter, nowMs);
    return { kind: "retry", reason, afterMs, isFault: status !== 429 };
  }
  return { kind: "failed", reason };
}
