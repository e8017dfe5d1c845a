// The part of the WebSocket interface that the client uses: met by browsers, by `ws` and by Node's own.
// Guarantees: nothing here is specific to one of them.

export interface Socket {
  readonly readyState: number;
  addEventListener(type: "open" | "message" | "close" | "error", listener: (event: never) => void): void;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  /** Only `ws` has it: ends the connection without waiting for the other side. */
  terminate?(): void;
}

export type SocketConstructor = new (url: string, protocols: string[]) => Socket;

/** `readyState` of a socket that can send (WHATWG WebSockets). */
export const SOCKET_OPEN = 1;
export const SOCKET_CLOSED = 3;
