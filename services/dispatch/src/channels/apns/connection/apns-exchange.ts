// channels/apns/apns-request -> here -> apns-pool -> channels/apns/judge-apns-answer: a request to Apple, and its
// result.
// Guarantees: "not-sent" means that Apple certainly did not process the request; every doubtful case is "unanswered".

export interface ApnsRequest {
  /** /3/device/<token> */
  readonly path: string;
  /** apns-…, including apns-id; neither authorization nor pseudo-headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** JSON text. */
  readonly body: Buffer;
}

export interface ApnsAnswer {
  readonly kind: "answered";
  readonly status: number;
  readonly apnsId: string | undefined;
  /** Apple's reason, such as "Unregistered"; undefined with 200, or if the body cannot be read. */
  readonly reason: string | undefined;
  /** With 410: since when the token has been invalid, ms since 1970. */
  readonly timestampMs: number | undefined;
  /** From the header, capped at an hour. */
  readonly retryAfterMs: number | undefined;
}

export type ApnsResult =
  | ApnsAnswer
  /** Safe to send again. */
  | { readonly kind: "not-sent"; readonly why: string }
  /** May have reached Apple: send again only with the same apns-id. */
  | { readonly kind: "unanswered"; readonly why: string };
