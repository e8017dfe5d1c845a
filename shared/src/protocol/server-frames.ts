// What a push node says to its clients: text frames, one JSON object each.
// Guarantees: a message's frame is built from its parts as they came, so that `data` is never parsed on the way.
import type { ErrorCode } from "./error-codes.js";

export interface WelcomeFrame {
  readonly type: "welcome";
  readonly connection: string;
  readonly node: string;
  readonly user: string;
  readonly epoch: string;
  /** The newest number assigned. */
  readonly seq: number;
  /** Where the replay starts. */
  readonly after: number;
  /** Same epoch, and nothing after `since` was trimmed. */
  readonly resumed: boolean;
  readonly pingSeconds: number;
  readonly features: readonly string[];
}

/** What the client does next; the close code that follows says the same. */
export type ErrorAction = "resume" | "refresh" | "backoff" | "stop";

export interface ErrorFrame {
  readonly type: "error";
  readonly code: ErrorCode;
  readonly message: string;
  readonly action: ErrorAction;
  readonly ref?: string;
}

export type ServerFrame =
  | WelcomeFrame
  | ErrorFrame
  | { readonly type: "reconnect"; readonly afterMs: number; readonly reason: string }
  | { readonly type: "token_expiring"; readonly inSeconds: number }
  | { readonly type: "token_accepted"; readonly expiresIn: number }
  | { readonly type: "pong" };

export function encodeServerFrame(frame: ServerFrame): string {
  return JSON.stringify(frame);
}

/**
 * @param id needs no escaping, see ids.ts
 * @param at RFC 3339 UTC
 * @param data JSON text
 */
export function encodeMessageFrame(id: string, seq: number, at: string, data: string): string {
  return `{"type":"message","id":"${id}","seq":${seq},"at":"${at}","data":${data}}`;
}
