// shared-socket, tab-member -> here -> hub: the messages between tabs, over a channel of one browser.
// Guarantees: the channel's name includes this version, so tabs of another version never read them.
import type { TopicPosition } from "../../frames.js";
import type { Position } from "../../delivery/user-sequence.js";

/** Increase it with every change that an older tab would misread. */
export const SHARE_VERSION = 1;

/** What a tab's socket asks of the leader, as it would ask a push node. */
export interface OpenSocket {
  readonly kind: "open";
  readonly socket: string;
  readonly url: string;
  readonly protocols: readonly string[];
  /** The token, if it travels in the first frame. */
  readonly firstFrame: string | undefined;
  readonly position: Position | undefined;
  readonly broadcast: TopicPosition | undefined;
  /** Whether the tab's application listens for messages. */
  readonly wants: boolean;
}

/** From a tab to the leader. */
export type ToHub =
  | OpenSocket
  | { readonly kind: "send"; readonly socket: string; readonly text: string }
  | { readonly kind: "close"; readonly socket: string; readonly code: number; readonly reason: string }
  /** Given up: the connection was silent, or never answered. */
  | { readonly kind: "abandon"; readonly socket: string }
  /** The answer to `poll`. */
  | { readonly kind: "here"; readonly socket: string; readonly wants: boolean };

/** From the leader, to some sockets. */
export type FromHub =
  | { readonly kind: "frame"; readonly to: readonly string[]; readonly text: string }
  | {
      readonly kind: "closed";
      readonly to: readonly string[];
      readonly code: number;
      readonly reason: string;
    }
  | { readonly kind: "poll"; readonly to: readonly string[] };

/** About the leader. */
export type AboutLead =
  /** Who leads? The leader answers `leads`. */
  | { readonly kind: "who" }
  | { readonly kind: "leads" }
  /** The leader has stopped. */
  | { readonly kind: "left" };

/** On the channel. `term` is the sender's, or that of the tab addressed; 0 if unknown. */
export type ShareMessage = {
  readonly from: string;
  readonly term: number;
} & (ToHub | FromHub | AboutLead);

/** A socket's name begins with its tab's name. */
export function tabOf(socket: string): string {
  return socket.slice(0, socket.lastIndexOf("."));
}
