// The part of the WebSocket interface that the client uses. Browsers, `ws` and Node's own WebSocket all have it.
// Guarantees: nothing here is specific to one of them.

/** All of a socket's events in one type. Which fields are set depends on the event. */
export interface SocketEvent {
  readonly type: string;
  /** For `message`. */
  readonly data?: unknown;
  /** For `close`. */
  readonly code?: number;
  readonly reason?: string;
  /** For `error`, only from `ws`: browsers give a page no details. */
  readonly message?: string;
}

export interface Socket {
  readonly readyState: number;
  addEventListener(
    type: "open" | "message" | "close" | "error",
    listener: (event: SocketEvent) => void,
  ): void;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  /** Only in `ws`: ends the connection without waiting for the server. */
  terminate?(): void;
}

export type SocketConstructor = new (url: string, protocols: string[]) => Socket;

/** `readyState` of a socket that can send (WHATWG WebSockets). */
export const SOCKET_OPEN = 1;
export const SOCKET_CLOSED = 3;
