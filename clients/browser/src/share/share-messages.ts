// shared-socket, tab-member -> here -> hub: what tabs say to each other, over a channel of one browser.
// Guarantees: the channel's name carries this version: tabs of another one never read these.
import type { TopicPosition } from "../frames.js";
import type { Position } from "../delivery/user-sequence.js";

/** Rises with every change that an older tab would misread. */
export const SHARE_VERSION = 1;

/** What a socket of a tab asks of the one that leads: as it would ask a push node. */
export interface OpenSocket {
  readonly kind: "open";
  readonly socket: string;
  readonly url: string;
  readonly protocols: readonly string[];
  /** The token, where it travels in the first frame. */
  readonly firstFrame: string | undefined;
  readonly position: Position | undefined;
  readonly broadcast: TopicPosition | undefined;
  /** Whether the tab's application listens for messages. */
  readonly wants: boolean;
}

/** From a tab to the one that leads. */
export type ToHub =
  | OpenSocket
  | { readonly kind: "send"; readonly socket: string; readonly text: string }
  | { readonly kind: "close"; readonly socket: string; readonly code: number; readonly reason: string }
  /** Given up: it has been silent, or never answered. */
  | { readonly kind: "abandon"; readonly socket: string }
  /** The answer to `poll`. */
  | { readonly kind: "here"; readonly socket: string; readonly wants: boolean };

/** From the one that leads, to some sockets. */
export type FromHub =
  | { readonly kind: "frame"; readonly to: readonly string[]; readonly text: string }
  | {
      readonly kind: "closed";
      readonly to: readonly string[];
      readonly code: number;
      readonly reason: string;
    }
  | { readonly kind: "poll"; readonly to: readonly string[] };

/** About who leads. */
export type AboutLead =
  /** Who leads? Whoever does says `leads`. */
  | { readonly kind: "who" }
  | { readonly kind: "leads" }
  /** The one that led has stopped. */
  | { readonly kind: "left" };

/** On the channel. `term` is the sender's, or of the one it speaks to; 0 where it knows none. */
export type ShareMessage = {
  readonly from: string;
  readonly term: number;
} & (ToHub | FromHub | AboutLead);

/** A socket's name begins with that of its tab. */
export function tabOf(socket: string): string {
  return socket.slice(0, socket.lastIndexOf("."));
}
