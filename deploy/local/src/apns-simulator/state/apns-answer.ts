// The APNs simulator: its answers, with Apple's reasons.
// Guarantees: each reason has the status that Apple's table gives it ("Handling notification responses from APNs").

/** An answer to one request. */
export interface ApnsAnswer {
  readonly status: number;
  readonly reason?: string;
  /** Only with 410: since when the token is invalid, milliseconds since 1970. */
  readonly timestampMs?: number;
  readonly retryAfterSeconds?: number;
}

/** The reasons that the simulator determines itself; others can be scripted. */
const statusOf = {
  BadCollapseId: 400,
  BadDeviceToken: 400,
  BadExpirationDate: 400,
  BadMessageId: 400,
  BadPriority: 400,
  BadTopic: 400,
  DeviceTokenNotForTopic: 400,
  DuplicateHeaders: 400,
  InvalidPushType: 400,
  MissingDeviceToken: 400,
  MissingTopic: 400,
  PayloadEmpty: 400,
  BadCertificate: 403,
  BadEnvironmentKeyIdInToken: 403,
  ExpiredProviderToken: 403,
  InvalidProviderToken: 403,
  MissingProviderToken: 403,
  UnrelatedKeyIdInToken: 403,
  BadPath: 404,
  MethodNotAllowed: 405,
  PayloadTooLarge: 413,
  TooManyProviderTokenUpdates: 429,
} as const;

export type ApnsReason = keyof typeof statusOf;

export const accepted: ApnsAnswer = Object.freeze({ status: 200 });

export function refusal(reason: ApnsReason): ApnsAnswer {
  return { status: statusOf[reason], reason };
}
