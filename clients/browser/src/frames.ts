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
  /** The replay starts after this seq. */
  readonly after: number;
  /** The epoch is the requested one, and nothing after `since` was trimmed. */
  readonly resumed: boolean;
  readonly pingSeconds: number;
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

export interface ReconnectFrame {
  readonly type: "reconnect";
  readonly afterMs: number;
  readonly reason: string;
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
  /** The client's frame that this answers. Without it, a close follows. */
  readonly ref?: string;
}

/** Types that need no reaction. Like every frame, they prove that the server is alive. */
export interface OtherFrame {
  readonly type: "other";
}

export type ServerFrame =
  | WelcomeFrame
  | MessageFrame
  | ReconnectFrame
  | TokenExpiringFrame
  | ErrorFrame
  | OtherFrame;

export type ClientFrame =
  | { readonly type: "auth"; readonly token: string }
  | { readonly type: "token"; readonly token: string }
  | { readonly type: "ack"; readonly seq: number }
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
        features: Array.isArray(frame["features"]) ? frame["features"].map(text) : [],
      };
    case "message":
      // A topic's message has an offset and no seq. This client subscribes to no topics.
      if (frame["topic"] !== undefined) return { type: "other" };
      return {
        type: "message",
        id: requiredText(frame, "id"),
        seq: wholeNumber(frame, "seq"),
        at: text(frame["at"]),
        data: frame["data"],
      };
    case "reconnect":
      return {
        type: "reconnect",
        afterMs: positiveOr(frame["afterMs"], 0),
        reason: text(frame["reason"]),
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
      };
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
