// petrel -> here: messages that a business system sends, and their results. docs/send/http-api.md explains every field.

export type Recipient =
  | { readonly user: string }
  /** Up to 1,000. */
  | { readonly users: readonly string[] }
  | { readonly topic: string }
  /** Everyone; also needs the scope `admin`. */
  | { readonly all: true };

/** What a phone or a webhook shows. */
export interface Notification {
  readonly title: string;
  readonly body: string;
  readonly badge?: number | undefined;
  readonly sound?: string | undefined;
  readonly apns?: Readonly<Record<string, unknown>> | undefined;
  readonly web?: Readonly<Record<string, unknown>> | undefined;
  readonly wechat?: Readonly<Record<string, unknown>> | undefined;
}

export interface MessageOptions {
  readonly ttlSeconds?: number | undefined;
  readonly priority?: "high" | "normal" | "low" | undefined;
  /** Set your own if another process may send the same message again; otherwise each message gets one automatically. */
  readonly idempotencyKey?: string | undefined;
  /** Not before this time. */
  readonly deliverAt?: string | Date | undefined;
  readonly collapseKey?: string | undefined;
  readonly fallback?: "offline" | "always" | "never" | undefined;
  readonly channels?: readonly string[] | undefined;
  readonly notification?: Notification | undefined;
}

export interface Message<To extends Recipient = Recipient> extends MessageOptions {
  readonly to: To;
  /** Any JSON, including `null`; at most 64 KiB. */
  readonly data: unknown;
}

export interface Stored {
  readonly id: string;
  /** Whether an earlier `send` with the same idempotency key stored it. */
  readonly duplicate: boolean;
}

export interface StoredForUser extends Stored {
  readonly user: string;
}

export interface StoredForList {
  /** In the order of the list. */
  readonly results: readonly StoredForUser[];
}

/** What `send` resolves with: for a list, one result for each user. */
export type SentTo<To extends Recipient> = To extends { readonly users: readonly string[] }
  ? StoredForList
  : Stored;
