// connection -> here -> tab-member: a WebSocket for the client that is really a place on the connection of all tabs.
// Guarantees: behaves like a browser's WebSocket: events come later, never within a call; `close` comes once.
import { SOCKET_CLOSED, SOCKET_OPEN, type Socket, type SocketEvent } from "../connection/socket.js";
import type { Position } from "../delivery/user-sequence.js";
import type { TopicPosition } from "../frames.js";
import type { OpenSocket, ToHub } from "./hub/share-messages.js";

/** What the client opens. */
export interface SocketPlace {
  readonly url: string;
  readonly protocols: readonly string[];
  /** Whether a fresh token of this user cannot be used on these tabs' connection. */
  readonly isForAnother: (token: string) => boolean;
}

export interface SharedSocketOptions extends SocketPlace {
  readonly name: string;
  readonly wants: () => boolean;
  readonly post: (message: ToHub) => void;
  /** It has its credential. */
  readonly onReady: (socket: SharedSocket) => void;
  readonly onClosed: (socket: SharedSocket) => void;
  /** It was given up without ever being welcomed. */
  readonly onUnserved: () => void;
}

type EventName = "open" | "message" | "close" | "error";
const SOCKET_CONNECTING = 0;
const SOCKET_CLOSING = 2;

export class SharedSocket implements Socket {
  readonly name: string;
  /** The term of the hub that serves it; 0 while none does. */
  term = 0;
  /** The server has welcomed it, so it knows what it has missed. */
  isWelcomed = false;
  readyState = SOCKET_CONNECTING;
  readonly #options: SharedSocketOptions;
  readonly #listeners = new Map<EventName, Set<(event: SocketEvent) => void>>();
  #firstFrame: string | undefined;
  #position: Position | undefined;
  readonly #broadcast: TopicPosition | undefined;

  constructor(options: SharedSocketOptions) {
    this.#options = options;
    this.name = options.name;
    const query = new URL(options.url).searchParams;
    const [epoch, since] = [query.get("epoch"), query.get("since")];
    if (epoch !== null && since !== null) this.#position = { epoch, since: Number(since) };
    const [, topicEpoch, offset] = /^(.*):(\d+)$/.exec(query.get("all") ?? "") ?? [];
    if (topicEpoch !== undefined) this.#broadcast = { epoch: topicEpoch, offset: Number(offset) };
    queueMicrotask(() => {
      if (this.readyState !== SOCKET_CONNECTING) return;
      this.readyState = SOCKET_OPEN;
      this.#fire({ type: "open" });
      this.#options.onReady(this);
    });
  }

  get place(): Pick<OpenSocket, "position" | "broadcast"> {
    return { position: this.#position, broadcast: this.#broadcast };
  }

  /** Undefined until it has its credential. */
  get opening(): OpenSocket | undefined {
    const { url, protocols, wants } = this.#options;
    const needsFirst =
      protocols.every((one) => !one.startsWith("bearer.")) && !new URL(url).searchParams.has("ticket");
    if (this.readyState !== SOCKET_OPEN || (needsFirst && this.#firstFrame === undefined)) return undefined;
    return {
      kind: "open",
      socket: this.name,
      url,
      protocols,
      firstFrame: this.#firstFrame,
      ...this.place,
      wants: wants(),
    };
  }

  addEventListener(type: EventName, listener: (event: SocketEvent) => void): void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
  }

  send(text: string): void {
    if (!this.isWelcomed && this.#firstFrame === undefined && text.startsWith('{"type":"auth"')) {
      this.#firstFrame = text;
      this.#options.onReady(this);
      return;
    }
    const fresh = tokenIn(text);
    if (fresh !== undefined && this.#options.isForAnother(fresh)) {
      // The client takes the token to another connection. Here it would give its rights to all tabs.
      this.move("the token allows something else");
      return;
    }
    const seq = ackIn(text);
    if (seq !== undefined && this.#position !== undefined) this.#position = { ...this.#position, since: seq };
    this.#options.post({ kind: "send", socket: this.name, text });
  }

  close(code = 1000, reason = ""): void {
    if (this.readyState >= SOCKET_CLOSING) return;
    this.readyState = SOCKET_CLOSING;
    this.#options.post({ kind: "close", socket: this.name, code, reason });
  }

  terminate(): void {
    if (this.readyState === SOCKET_CLOSED) return;
    this.#options.post({ kind: "abandon", socket: this.name });
    this.closed(1006, "");
    if (!this.isWelcomed) this.#options.onUnserved();
  }

  /** A frame for the client. */
  receive(text: string): void {
    if (this.readyState !== SOCKET_OPEN) return;
    const welcomed = this.isWelcomed ? undefined : welcomedAt(text);
    if (welcomed !== undefined) {
      this.isWelcomed = true;
      this.#position = welcomed;
    }
    this.#fire({ type: "message", data: text });
  }

  /** Asks the client to open another socket beside it, from its present position. */
  move(reason: string): void {
    const frame = { type: "reconnect", afterMs: 0, reason, local: true };
    queueMicrotask(() => this.receive(JSON.stringify(frame)));
  }

  closed(code: number, reason: string): void {
    if (this.readyState === SOCKET_CLOSED) return;
    this.readyState = SOCKET_CLOSED;
    this.#options.onClosed(this);
    this.#fire({ type: "close", code, reason });
  }

  #fire(event: SocketEvent): void {
    for (const listener of this.#listeners.get(event.type as EventName) ?? []) listener(event);
  }
}

/** @returns the seq if the frame is an ack */
export function ackIn(text: string): number | undefined {
  const [, seq] = /^\{"type":"ack","seq":(\d+)\}$/.exec(text) ?? [];
  return seq === undefined ? undefined : Number(seq);
}

/** @returns the token if the frame renews it */
function tokenIn(text: string): string | undefined {
  if (!text.startsWith('{"type":"token"')) return undefined;
  return (JSON.parse(text) as { readonly token: string }).token;
}

/** @returns where the tab continues, if the frame is a welcome */
export function welcomedAt(text: string): Position | undefined {
  if (!text.startsWith('{"type":"welcome"')) return undefined;
  const { epoch, after } = JSON.parse(text) as { readonly epoch: string; readonly after: number };
  return { epoch, since: after };
}
