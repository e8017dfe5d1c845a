// apns-pool -> here -> send-to-device: what Apple's answer means.
// Guarantees: the table of docs/phones/apns.md, as data; every answer has one meaning, including unknown ones.
import type { ApnsAnswer } from "./connection/apns-exchange.js";

export type ApnsVerdict =
  /** Apple has accepted it. */
  | { readonly kind: "taken" }
  /** The token is invalid, if it was registered before the timestamp. */
  | {
      readonly kind: "forget";
      readonly reason: "unregistered" | "expired-token";
      readonly timestampMs: number | undefined;
    }
  /** The token does not match. A token of the other environment looks the same. */
  | { readonly kind: "quarantine"; readonly reason: "bad-device-token" | "device-token-not-for-topic" }
  /** The key or certificate is invalid: send nothing more with it until somebody has looked. */
  | { readonly kind: "halt"; readonly reason: string }
  /** A fresh provider token was also refused as expired, or none was available: a clock is wrong. */
  | { readonly kind: "renew-token" }
  /** Apple saw too many provider tokens for this key. */
  | { readonly kind: "pause-token"; readonly afterMs: number }
  | { readonly kind: "retry"; readonly reason: string; readonly afterMs?: number }
  /** The message is wrong, and always would be. */
  | { readonly kind: "failed"; readonly reason: string };

/** For when Apple names no duration. The token stays the same, because it must get old enough. */
const TOKEN_PAUSE_MS = 5 * 60_000;

type Meaning = ApnsVerdict["kind"];

/** https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns */
export const apnsReasons: Readonly<Record<string, { readonly status: number; readonly meaning: Meaning }>> =
  Object.freeze({
    BadCollapseId: { status: 400, meaning: "failed" },
    BadDeviceToken: { status: 400, meaning: "quarantine" },
    BadExpirationDate: { status: 400, meaning: "failed" },
    BadMessageId: { status: 400, meaning: "failed" },
    BadPriority: { status: 400, meaning: "failed" },
    BadTopic: { status: 400, meaning: "failed" },
    DeviceTokenNotForTopic: { status: 400, meaning: "quarantine" },
    DuplicateHeaders: { status: 400, meaning: "failed" },
    IdleTimeout: { status: 400, meaning: "retry" },
    InvalidPushType: { status: 400, meaning: "failed" },
    MissingDeviceToken: { status: 400, meaning: "failed" },
    MissingTopic: { status: 400, meaning: "failed" },
    PayloadEmpty: { status: 400, meaning: "failed" },
    TopicDisallowed: { status: 400, meaning: "failed" },
    BadCertificate: { status: 403, meaning: "halt" },
    BadCertificateEnvironment: { status: 403, meaning: "halt" },
    BadEnvironmentKeyIdInToken: { status: 403, meaning: "halt" },
    ExpiredProviderToken: { status: 403, meaning: "renew-token" },
    Forbidden: { status: 403, meaning: "halt" },
    InvalidProviderToken: { status: 403, meaning: "halt" },
    MissingProviderToken: { status: 403, meaning: "halt" },
    UnrelatedKeyIdInToken: { status: 403, meaning: "halt" },
    BadPath: { status: 404, meaning: "failed" },
    MethodNotAllowed: { status: 405, meaning: "failed" },
    ExpiredToken: { status: 410, meaning: "forget" },
    Unregistered: { status: 410, meaning: "forget" },
    PayloadTooLarge: { status: 413, meaning: "failed" },
    TooManyProviderTokenUpdates: { status: 429, meaning: "pause-token" },
    TooManyRequests: { status: 429, meaning: "retry" },
    InternalServerError: { status: 500, meaning: "retry" },
    ServiceUnavailable: { status: 503, meaning: "retry" },
    Shutdown: { status: 503, meaning: "retry" },
  });

/**
 * The reason counts if it belongs to the status; otherwise the status alone does.
 * @param answer anything that came
 */
export function judgeApnsAnswer(answer: Omit<ApnsAnswer, "kind">): ApnsVerdict {
  const { status, reason, timestampMs, retryAfterMs } = answer;
  if (status === 200) return { kind: "taken" };
  const known = reason !== undefined && Object.hasOwn(apnsReasons, reason) ? apnsReasons[reason] : undefined;
  const meaning = known?.status === status ? known.meaning : meaningOfStatus(status);
  const text = reason ?? `HTTP ${status}`;
  switch (meaning) {
    case "taken":
      return { kind: "taken" };
    case "forget":
      return {
        kind: "forget",
        reason: reason === "ExpiredToken" ? "expired-token" : "unregistered",
        timestampMs,
      };
    case "quarantine":
      return {
        kind: "quarantine",
        reason: reason === "DeviceTokenNotForTopic" ? "device-token-not-for-topic" : "bad-device-token",
      };
    case "renew-token":
      return { kind: "renew-token" };
    case "pause-token":
      return { kind: "pause-token", afterMs: retryAfterMs ?? TOKEN_PAUSE_MS };
    case "retry":
      return retryAfterMs === undefined
        ? { kind: "retry", reason: text }
        : { kind: "retry", reason: text, afterMs: retryAfterMs };
    case "halt":
      return { kind: "halt", reason: text };
    case "failed":
      return { kind: "failed", reason: text };
  }
}

/** For answers that the table does not list, or whose body could not be read. */
export function meaningOfStatus(status: number): Meaning {
  if (status === 403) return "halt";
  // No token is forgotten without Apple's explicit reason.
  if (status === 410) return "quarantine";
  if (status === 408 || status === 425 || status === 429 || status >= 500) return "retry";
  return "failed";
}
