// channels/apns/apns-request -> here -> apns-pool -> channels/apns/judge-apns-answer: a request to Apple, and its result.
// Guarantees: "not-sent" is said only where Apple certainly did not take the request; whatever is in doubt is
// "unanswered".

export interface ApnsRequest {
  /** /3/device/<token> */
  readonly path: string;
  /** apns-…, with apns-id; neither authorization nor pseudo-headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body: Buffer;
}

export interface ApnsAnswer {
  readonly kind: "answered";
  readonly status: number;
  readonly apnsId: string | undefined;
  /** Apple's word for it, such as "Unregistered"; undefined with 200, or where the body cannot be read. */
  readonly reason: string | undefined;
  /** With 410: since when the token is known not to be good, ms since 1970. */
  readonly timestampMs: number | undefined;
  /** From the header, at most an hour. */
  readonly retryAfterMs: number | undefined;
}

export type ApnsResult =
  | ApnsAnswer
  /** May be sent again freely. */
  | { readonly kind: "not-sent"; readonly why: string }
  /** May have reached Apple: to be sent again with the same apns-id only. */
  | { readonly kind: "unanswered"; readonly why: string };
