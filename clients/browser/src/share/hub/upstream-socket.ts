// upstream -> here -> the push node: the one real socket of all tabs.
// Guarantees: an error that may explain the connection's end is held back until the next frame, or the end, so that it
// goes to those whom it concerns.
import { SOCKET_CLOSED, SOCKET_OPEN, type Socket, type SocketConstructor } from "../../connection/socket.js";
import { parseServerFrame, type ErrorFrame, type ServerFrame } from "../../frames.js";
import type { OpenSocket } from "./share-messages.js";

export interface UpstreamSocketOptions {
  readonly WebSocket: SocketConstructor;
  readonly url: string;
  /** Its credential is used. */
  readonly opener: Pick<OpenSocket, "protocols" | "firstFrame">;
}

export interface UpstreamSocketEvents {
  readonly onFrame: (frame: ServerFrame, text: string) => void;
  /** For every tab to judge by itself. */
  readonly onText: (text: string) => void;
  readonly onClosed: (code: number, reason: string) => void;
}

export class UpstreamSocket {
  readonly #socket: Socket;
  readonly #events: UpstreamSocketEvents;
  #verdict: { readonly frame: ErrorFrame; readonly text: string } | undefined;

  /** @throws what the WebSocket constructor throws */
  constructor({ WebSocket, url, opener }: UpstreamSocketOptions, events: UpstreamSocketEvents) {
    this.#events = events;
    this.#socket = new WebSocket(url, [...opener.protocols]);
    this.#socket.addEventListener("open", () => {
      if (opener.firstFrame !== undefined) this.send(opener.firstFrame);
    });
    this.#socket.addEventListener("message", ({ data }) => this.#receive(data));
    this.#socket.addEventListener("error", () => undefined);
    this.#socket.addEventListener("close", ({ code = 1006, reason = "" }) => events.onClosed(code, reason));
  }

  /** The last frame, if it was an error that may explain the end. */
  get verdict(): { readonly frame: ErrorFrame; readonly text: string } | undefined {
    return this.#verdict;
  }

  /** @returns whether the socket was open */
  send(text: string): boolean {
    if (this.#socket.readyState !== SOCKET_OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  close(code: number, reason: string): void {
    if (this.#socket.readyState === SOCKET_CLOSED) {
      this.#events.onClosed(code, reason);
      return;
    }
    try {
      this.#socket.close(code, reason);
    } catch {
      this.#socket.close();
    }
  }

  #receive(data: unknown): void {
    if (typeof data !== "string") return;
    let frame: ServerFrame;
    try {
      frame = parseServerFrame(data);
    } catch {
      this.#events.onText(data);
      return;
    }
    const isVerdict = frame.type === "error" && frame.ref === undefined && frame.on === undefined;
    if (this.#verdict !== undefined) this.#events.onText(this.#verdict.text);
    this.#verdict = isVerdict ? { frame: frame as ErrorFrame, text: data } : undefined;
    if (!isVerdict) this.#events.onFrame(frame, data);
  }
}
