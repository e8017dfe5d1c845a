// What a push node says to its clients: text frames, one JSON object each.
// Guarantees: a message's frame is assembled from its stored parts, so `data` is never parsed on the way.
import type { ErrorCode } from "../error-codes.js";

export interface WelcomeFrame {
  readonly type: "welcome";
  readonly connection: string;
  readonly node: string;
  readonly user: string;
  readonly epoch: string;
  /** The newest sequence number that was assigned. */
  readonly seq: number;
  /** Where the replay starts. */
  readonly after: number;
  /** Same epoch, and nothing after `since` was trimmed. */
  readonly resumed: boolean;
  readonly pingSeconds: number;
  /** How long a client may hold an ack back to batch it with others. */
  readonly ackWithinMs: number;
  readonly features: readonly string[];
}

/**
 * What the client should do next. Before a close it concerns the connection, and the close code says the same. With
 * `on` it concerns one refused frame and the connection stays open; "none" means there is nothing to do.
 */
export type ErrorAction = "none" | "resume" | "refresh" | "backoff" | "stop";

export interface ErrorFrame {
  readonly type: "error";
  readonly code: ErrorCode;
  readonly message: string;
  readonly action: ErrorAction;
  /** What the error is about, as the client named it. */
  readonly ref?: string;
  /** The kind of frame that was refused; the connection stays open. */
  readonly on?: "subscribe" | "unsubscribe" | "publish" | "token";
}

/** Where a topic stands for this connection; missed messages follow as `message` frames. */
export interface SubscribedFrame {
  readonly type: "subscribed";
  readonly topic: string;
  readonly epoch: string;
  readonly offset: number;
  /** The smallest offset that is still available; `offset + 1` if there is none. */
  readonly oldest: number;
  /** Nothing is missing between the client's position and what follows. */
  readonly recovered: boolean;
}

/** `forbidden`: the fresh token no longer allows it · `removed`: the server has ended the subscription */
export type UnsubscribedReason = "forbidden" | "removed";

export type ServerFrame =
  | WelcomeFrame
  | ErrorFrame
  | SubscribedFrame
  | { readonly type: "unsubscribed"; readonly topic: string; readonly reason?: UnsubscribedReason }
  | {
      readonly type: "published";
      readonly ref: string;
      readonly id: string;
      readonly topic: string;
      readonly epoch: string;
      readonly offset: number;
      readonly duplicate: boolean;
    }
  /** A message was cancelled after it was sent to this connection, or to an earlier one of its client. */
  | { readonly type: "recalled"; readonly seq: number; readonly id: string }
  | { readonly type: "reconnect"; readonly afterMs: number; readonly reason: string }
  | { readonly type: "token_expiring"; readonly inSeconds: number }
  | { readonly type: "token_accepted"; readonly expiresIn: number }
  | { readonly type: "pong" };

export function encodeServerFrame(frame: ServerFrame): string {
  return JSON.stringify(frame);
}

/**
 * @param id safe without escaping, see ids.ts
 * @param at RFC 3339 UTC
 * @param data JSON text
 */
export function encodeMessageFrame(id: string, seq: number, at: string, data: string): string {
  return `{"type":"message","id":"${id}","seq":${seq},"at":"${at}","data":${data}}`;
}

/**
 * @param id safe without escaping, like a topic's name and a user's
 * @param at RFC 3339 UTC
 * @param from the user whose client published it; "" if a business system did
 * @param data JSON text
 */
export function encodeTopicMessageFrame(
  id: string,
  topic: string,
  offset: number,
  at: string,
  from: string,
  data: string,
): string {
  const sender = from === "" ? "" : `"from":"${from}",`;
  return `{"type":"message","id":"${id}","topic":"${topic}","offset":${offset},"at":"${at}",${sender}"data":${data}}`;
}
