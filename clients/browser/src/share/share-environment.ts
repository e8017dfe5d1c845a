// client, share-sockets -> here -> tab-member: the browser's features that tabs need to share a connection.
import type { ShareMessage } from "./hub/share-messages.js";
import type { Locks } from "./tab-lock.js";

/** The part of a `BroadcastChannel` that is used. */
export interface Channel {
  postMessage(message: ShareMessage): void;
  close(): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
}

/** The part of a page that is used. */
export interface Page {
  readonly visibilityState: string;
  addEventListener(type: string, listener: () => void): void;
  removeEventListener(type: string, listener: () => void): void;
}

/** The browser features that it needs. */
export interface ShareEnvironment {
  readonly locks: Locks;
  readonly Channel: new (name: string) => Channel;
  readonly page: Page;
}
