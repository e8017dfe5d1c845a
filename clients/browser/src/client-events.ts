// What the client tells the application: its states and the payload of each event.
// Guarantees: the names are the contract between client.ts and the listeners of applications.
import type { PetrelClientError } from "./client-error.js";
import type { WelcomeFrame } from "./frames.js";
import type { PetrelMessage } from "./delivery/message-delivery.js";

/** `connecting`: an attempt is under way · `online`: welcomed · `waiting`: until the next attempt · `closed` */
export type ClientState = "connecting" | "online" | "waiting" | "closed";

export interface OfflineEvent {
  /** The close code, or 1006 where there was no close frame. */
  readonly code: number;
  readonly reason: string;
}

export interface ClosedEvent extends OfflineEvent {
  /** The server's last word, where it said why. */
  readonly error?: { readonly code: string; readonly message: string };
  /** Whether the application closed, or the server. */
  readonly byClient: boolean;
}

export interface ClientEvents<Data = unknown> {
  /** Its listeners may be async: the next message, and the ack, wait for them. */
  message: PetrelMessage<Data>;
  /** Every welcome, also one on a socket that the client has moved to. */
  welcome: WelcomeFrame;
  state: ClientState;
  online: WelcomeFrame;
  /** The connection is gone; the client goes on trying. */
  offline: OfflineEvent;
  /** For the log and for display: the client has already decided what to do. */
  error: PetrelClientError;
  /** Nothing has failed, but something holds the client up, such as a handler that does not finish. */
  warning: PetrelClientError;
  /** The end, until `connect` is called again. */
  closed: ClosedEvent;
}

/** Each name once; the compiler holds this and the events together. */
const names: Readonly<Record<keyof ClientEvents, true>> = {
  message: true,
  welcome: true,
  state: true,
  online: true,
  offline: true,
  error: true,
  warning: true,
  closed: true,
};

export const clientEventNames: readonly string[] = Object.keys(names);
