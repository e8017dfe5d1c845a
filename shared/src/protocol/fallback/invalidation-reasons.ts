// dispatch/channels -> here -> redis/device-invalidations: why nothing is sent to a device any more.
// Guarantees: a reason is never renamed or reused, because it stands in the audit stream, in metrics and in the API.

/** Append new ones: the API lists them in this order. */
export const invalidationReasons = [
  /** Apple: the app was removed, or the token no longer belongs to this app (410 Unregistered). */
  "unregistered",
  /** Apple: the token has expired (410 ExpiredToken). */
  "expired-token",
  /** Apple does not know the token; a token of the other environment looks the same (400 BadDeviceToken). */
  "bad-device-token",
  /** Apple: the token belongs to another app (400 DeviceTokenNotForTopic). */
  "device-token-not-for-topic",
  /** Petrel: neither registered nor reached for DEVICE_KEEP_DAYS. */
  "not-seen",
  /** A push service: the subscription is over (404, 410). */
  "subscription-gone",
  /** The expiry that the browser stated when it subscribed has passed. */
  "subscription-expired",
  /** WeChat: the openid does not belong to this app (40003). */
  "openid-invalid",
  /** WeChat: the user does not follow the account (43004). */
  "not-following",
] as const;

export type InvalidationReason = (typeof invalidationReasons)[number];

/** `forgotten`: removed · `quarantined`: skipped for a while · `kept`: it had been registered again meanwhile */
export const invalidationOutcomes = ["forgotten", "quarantined", "kept"] as const;

export type InvalidationOutcome = (typeof invalidationOutcomes)[number];
