// What the client tells the application: its states, and what each event carries.
// Guarantees: these names are the contract between client.ts and an application's listeners.
import type { PetrelClientError } from "./client-error.js";
import type { WelcomeFrame } from "./frames.js";
import type { PetrelMessage } from "./delivery/handed-message.js";
import type { RecalledMessage } from "./delivery/message-delivery.js";
import type { TopicMessage } from "./topics/topic-options.js";

/** `connecting`: an attempt is under way · `online`: welcomed · `waiting`: until the next attempt · `closed` */
export type ClientState = "connecting" | "online" | "waiting" | "closed";

export interface OfflineEvent {
  /** The close code, or 1006 if there was no close frame. */
  readonly code: number;
  readonly reason: string;
}

export interface ClosedEvent extends OfflineEvent {
  /** The server's last error, if it gave a reason. */
  readonly error?: { readonly code: string; readonly message: string };
  /** Whether the application closed the connection, not the server. */
  readonly byClient: boolean;
}

export interface StateFacts {
  /** How many attempts have failed since the last good connection. */
  readonly attempt: number;
  /** Of `waiting`: when the next attempt is made. */
  readonly retryInMs?: number;
  /** How the last connection, or attempt, ended. */
  readonly reason?: OfflineEvent;
}

export interface StateChange extends StateFacts {
  readonly state: ClientState;
  readonly previous: ClientState;
}

export interface ClientEvents<Data = unknown> {
  /** Listeners may be async: the next message and the ack wait for them. */
  message: PetrelMessage<Data>;
  /**
   * A message was cancelled after it had been sent: remove it from where it was shown. Fired once for each, even for
   * one that the application did not get, because it was still queued or went to an earlier page of the user.
   */
  recalled: RecalledMessage;
  /**
   * For topics without a handle: those that the server keeps for the user, and the broadcast (`$all`). Listeners may be
   * async: the next message of the topic waits for them.
   */
  topic: TopicMessage<Data>;
  /** Fired at every welcome, including one on a socket the client moved to. */
  welcome: WelcomeFrame;
  state: ClientState;
  /** The same, with what led to it. */
  statechange: StateChange;
  online: WelcomeFrame;
  /** The connection is gone. The client keeps trying. */
  offline: OfflineEvent;
  /** For logs and display. The client has already decided what to do. */
  error: PetrelClientError;
  /** Nothing failed, but something holds the client up, such as a handler that does not finish. */
  warning: PetrelClientError;
  /** The client has stopped until `connect` is called again. */
  closed: ClosedEvent;
}

/** Each name once. The compiler keeps this in step with the events. */
const names: Readonly<Record<keyof ClientEvents, true>> = {
  message: true,
  recalled: true,
  topic: true,
  welcome: true,
  state: true,
  statechange: true,
  online: true,
  offline: true,
  error: true,
  warning: true,
  closed: true,
};

export const clientEventNames: readonly string[] = Object.keys(names);
