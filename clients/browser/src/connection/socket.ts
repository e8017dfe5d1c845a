// The part of the WebSocket interface that the client uses: met by browsers, by `ws` and by Node's own.
// Guarantees: nothing here is specific to one of them.

/** The events of a socket in one: which fields are there depends on the type. */
export interface SocketEvent {
  readonly type: string;
  /** Of `message`. */
  readonly data?: unknown;
  /** Of `close`. */
  readonly code?: number;
  readonly reason?: string;
  /** Of `error`, from `ws` only: browsers tell a page nothing. */
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
  /** Only `ws` has it: ends the connection without waiting for the other side. */
  terminate?(): void;
}

export type SocketConstructor = new (url: string, protocols: string[]) => Socket;

/** `readyState` of a socket that can send (WHATWG WebSockets). */
export const SOCKET_OPEN = 1;
export const SOCKET_CLOSED = 3;
