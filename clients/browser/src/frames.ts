// The contract's frames: text, one JSON object each.
// Guarantees: a parsed frame has the fields the client relies on; unknown fields and types are ignored.

export interface WelcomeFrame {
  readonly type: "welcome";
  readonly connection: string;
  readonly node: string;
  readonly user: string;
  readonly epoch: string;
  /** The newest number assigned. */
  readonly seq: number;
  /** Exclusive: the replay starts after this seq. */
  readonly after: number;
  /** The epoch is the requested one, and nothing after `since` was trimmed. */
  readonly resumed: boolean;
  readonly pingSeconds: number;
  /** How long an ack may wait for others; 0 if the server does not say. */
  readonly ackWithinMs: number;
  readonly features: readonly string[];
}

export interface MessageFrame {
  readonly type: "message";
  readonly id: string;
  readonly seq: number;
  /** When it was accepted, RFC 3339 in UTC. */
  readonly at: string;
  readonly data: unknown;
}

/** A message was cancelled after it was sent, here or on an earlier connection. */
export interface RecalledFrame {
  readonly type: "recalled";
  readonly seq: number;
  readonly id: string;
}

/** In a topic: everything up to and including `offset` was received. Offsets keep rising when the epoch changes. */
export interface TopicPosition {
  readonly epoch: string;
  readonly offset: number;
}

/** A message of a topic; its epoch is that of the newest `subscribed`. */
export interface TopicMessageFrame {
  readonly type: "topic_message";
  readonly topic: string;
  readonly id: string;
  readonly offset: number;
  readonly at: string;
  /** The user whose client published it; absent for a business system's message. */
  readonly from?: string;
  readonly data: unknown;
}

export interface SubscribedFrame {
  readonly type: "subscribed";
  readonly topic: string;
  readonly epoch: string;
  /** The newest offset. */
  readonly offset: number;
  /** The smallest offset that is still available; `offset + 1` if there is none. */
  readonly oldest: number;
  /** A position was given, and everything after it follows. */
  readonly recovered: boolean;
}

export interface UnsubscribedFrame {
  readonly type: "unsubscribed";
  readonly topic: string;
  /** `forbidden`, `removed`; absent if the client asked for it. */
  readonly reason?: string;
}

export interface PublishedFrame {
  readonly type: "published";
  readonly ref: string;
  readonly id: string;
  readonly topic: string;
  readonly epoch: string;
  readonly offset: number;
  readonly duplicate: boolean;
}

export interface PresenceFrame {
  readonly type: "presence";
  readonly topic: string;
  readonly users: number;
  readonly connections: number;
  readonly here?: readonly string[];
}

export interface ReconnectFrame {
  readonly type: "reconnect";
  readonly afterMs: number;
  readonly reason: string;
  /** Sent by a tab, not by the server. */
  readonly local: boolean;
}

export interface TokenExpiringFrame {
  readonly type: "token_expiring";
  readonly inSeconds: number;
}

export interface ErrorFrame {
  readonly type: "error";
  readonly code: string;
  readonly message: string;
  readonly action: string;
  /** What it concerns: a topic, a publication. */
  readonly ref?: string;
  /** The kind of the client's frame that it answers; without it, a close follows. */
  readonly on?: string;
}

/** Types that need no reaction. Like every frame, they prove that the server is alive. */
export interface OtherFrame {
  readonly type: "other";
}

export type ServerFrame =
  | WelcomeFrame
  | MessageFrame
  | RecalledFrame
  | TopicMessageFrame
  | SubscribedFrame
  | UnsubscribedFrame
  | PublishedFrame
  | PresenceFrame
  | ReconnectFrame
  | TokenExpiringFrame
  | { readonly type: "token_accepted" }
  | ErrorFrame
  | OtherFrame;

/** The entry for one topic in a `subscribe`; a position needs both of its fields. */
export interface SubscribeEntry {
  readonly topic: string;
  readonly epoch?: string;
  readonly offset?: number;
  readonly presence?: boolean;
}

export type ClientFrame =
  | { readonly type: "auth"; readonly token: string }
  | { readonly type: "token"; readonly token: string }
  | { readonly type: "ack"; readonly seq: number }
  | { readonly type: "subscribe"; readonly topics: readonly SubscribeEntry[] }
  | { readonly type: "unsubscribe"; readonly topics: readonly { readonly topic: string }[] }
  | {
      readonly type: "publish";
      readonly ref: string;
      readonly topic: string;
      readonly idempotencyKey: string;
      readonly data: unknown;
    }
  | { readonly type: "ping" };

const DEFAULT_PING_SECONDS = 25;

/**
 * @param data of the socket's message event
 * @throws Error that says what is wrong with the frame
 */
export function parseServerFrame(data: unknown): ServerFrame {
  if (typeof data !== "string") throw new Error("a binary frame");
  const frame: unknown = JSON.parse(data);
  if (!isRecord(frame) || typeof frame["type"] !== "string") throw new Error("a frame without a type");
  switch (frame["type"]) {
    case "welcome":
      return {
        type: "welcome",
        connection: text(frame["connection"]),
        node: text(frame["node"]),
        user: text(frame["user"]),
        epoch: epochOf(frame["epoch"]),
        seq: wholeNumber(frame, "seq"),
        after: wholeNumber(frame, "after"),
        resumed: frame["resumed"] === true,
        pingSeconds: positiveOr(frame["pingSeconds"], DEFAULT_PING_SECONDS),
        ackWithinMs: positiveOr(frame["ackWithinMs"], 0),
        features: Array.isArray(frame["features"]) ? frame["features"].map(text) : [],
      };
    case "message":
      // A topic message has an offset and no seq.
      if (frame["topic"] !== undefined) {
        return {
          type: "topic_message",
          topic: requiredText(frame, "topic"),
          id: requiredText(frame, "id"),
          offset: wholeNumber(frame, "offset"),
          at: text(frame["at"]),
          ...(frame["from"] === undefined ? {} : { from: text(frame["from"]) }),
          data: frame["data"],
        };
      }
      return {
        type: "message",
        id: requiredText(frame, "id"),
        seq: wholeNumber(frame, "seq"),
        at: text(frame["at"]),
        data: frame["data"],
      };
    case "recalled":
      return { type: "recalled", seq: wholeNumber(frame, "seq"), id: requiredText(frame, "id") };
    case "subscribed":
      return {
        type: "subscribed",
        topic: requiredText(frame, "topic"),
        epoch: requiredText(frame, "epoch"),
        offset: wholeNumber(frame, "offset"),
        oldest: wholeNumber(frame, "oldest"),
        recovered: frame["recovered"] === true,
      };
    case "unsubscribed":
      return {
        type: "unsubscribed",
        topic: requiredText(frame, "topic"),
        ...(frame["reason"] === undefined ? {} : { reason: text(frame["reason"]) }),
      };
    case "published":
      return {
        type: "published",
        ref: requiredText(frame, "ref"),
        id: requiredText(frame, "id"),
        topic: requiredText(frame, "topic"),
        epoch: requiredText(frame, "epoch"),
        offset: wholeNumber(frame, "offset"),
        duplicate: frame["duplicate"] === true,
      };
    case "presence":
      return {
        type: "presence",
        topic: requiredText(frame, "topic"),
        users: wholeNumber(frame, "users"),
        connections: wholeNumber(frame, "connections"),
        ...(Array.isArray(frame["here"]) ? { here: frame["here"].map(text) } : {}),
      };
    case "reconnect":
      return {
        type: "reconnect",
        afterMs: positiveOr(frame["afterMs"], 0),
        reason: text(frame["reason"]),
        local: frame["local"] === true,
      };
    case "token_expiring":
      return { type: "token_expiring", inSeconds: positiveOr(frame["inSeconds"], 0) };
    case "error":
      return {
        type: "error",
        code: text(frame["code"]),
        message: text(frame["message"]),
        action: text(frame["action"]),
        ...(frame["ref"] === undefined ? {} : { ref: text(frame["ref"]) }),
        ...(frame["on"] === undefined ? {} : { on: text(frame["on"]) }),
      };
    case "token_accepted":
      return { type: "token_accepted" };
    default:
      return { type: "other" };
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
}

function epochOf(value: unknown): string {
  const epoch = text(value);
  if (epoch === "") throw new Error("a welcome without an epoch");
  return epoch;
}

function requiredText(frame: Readonly<Record<string, unknown>>, field: string): string {
  const value = frame[field];
  if (typeof value !== "string" || value === "") throw new Error(`a ${text(frame["type"])} without ${field}`);
  return value;
}

function wholeNumber(frame: Readonly<Record<string, unknown>>, field: string): number {
  const value = frame[field];
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new Error(`a ${text(frame["type"])} whose ${field} is not a whole number`);
  }
  return value;
}

function positiveOr(value: unknown, fallback: number): number {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : fallback;
}
