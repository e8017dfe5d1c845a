// push-node/connect/accept-upgrade -> here -> push-node/connection/client-frames: the server's end of a WebSocket, once
// its handshake is answered.
// Guarantees: it closes as RFC 6455 section 7 requires, within bounded time whatever the client does, and its listener
// hears of the end once. Pongs that may wait are bounded. A connection costs two objects and four listeners: the classes
// of `ws`, with a stream to read from, cost a tenth of all that a connection costs.
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import { ClientFrames, type FrameBounds, type FrameListener } from "./client-frames.js";
import { encodeTextFrame } from "./encode-text-frame.js";

/** What happens on one socket. */
export interface SocketListener {
  onMessage(data: Buffer, isBinary: boolean): void;
  /** A ping or a pong; a ping is answered. */
  onControlFrame(): void;
  /** It is being closed with the right code. */
  onError(error: Error): void;
  /** Called once, at the end. */
  onClose(code: number): void;
}

const FIN_AND_CLOSE = 0x88;
const FIN_AND_PONG = 0x8a;
/** RFC 6455 section 7.4.1: a close frame without a code. */
const NO_STATUS = 1005;
/** How long a client may take to answer a close before its socket is cut. */
const CLOSE_TIMEOUT_MS = 5_000;
/** Pongs that may wait for a client that pings and does not read; one that pings too often gets 4429 before. */
const MAX_WAITING_PONGS = 1_000;
const NOTHING = Buffer.alloc(0);
const END = Symbol("the WebSocket of a socket");

interface OwnedSocket extends Socket {
  [END]?: ConnectionWebSocket;
}

export class ConnectionWebSocket implements FrameListener {
  readonly #socket: OwnedSocket;
  readonly #frames: ClientFrames;
  #listener: SocketListener | undefined;
  #isOpen = true;
  /** As the client gave it. */
  #code: number = closeCodes.abnormal;
  #closeTimer: NodeJS.Timeout | undefined;
  #waitingPongs = 0;

  /** @param head what came behind the handshake */
  constructor(socket: Socket, head: Buffer, bounds: FrameBounds) {
    this.#socket = socket;
    this.#frames = new ClientFrames(bounds, this);
    this.#socket[END] = this;
    socket.setTimeout(0);
    if (head.length > 0) socket.unshift(head);
    socket.on("data", onData);
    socket.on("end", onEnd);
    socket.on("error", onError);
    socket.on("close", onClose);
  }

  /** Neither side has begun to close. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Called in the turn in which it was made. */
  listen(listener: SocketListener): void {
    this.#listener = listener;
  }

  send(text: string): void {
    if (this.#isOpen) this.#socket.write(encodeTextFrame(text));
  }

  /** Waits for the client's own close, for a while. */
  close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#cutLater();
    this.#socket.write(encodeClose(code, Buffer.from(reason)));
  }

  /** Cuts the connection. */
  terminate(): void {
    this.#isOpen = false;
    this.#socket.destroy();
  }

  /** Its socket has read bytes. */
  received(chunk: Buffer): void {
    this.#frames.read(chunk);
  }

  /** The client sends nothing more. */
  ended(): void {
    this.#isOpen = false;
    this.#leaveSocket();
  }

  /** Its socket is closed. */
  gone(): void {
    this.#isOpen = false;
    clearTimeout(this.#closeTimer);
    this.#listener?.onClose(this.#code);
  }

  onMessage(data: Buffer, isBinary: boolean): void {
    this.#listener?.onMessage(data, isBinary);
  }

  onPing(data: Buffer): void {
    if (this.#isOpen) this.#pong(data);
    this.#listener?.onControlFrame();
  }

  onPong(): void {
    this.#listener?.onControlFrame();
  }

  onEnd(code: number, reason: Buffer): void {
    this.#code = code;
    if (this.#isOpen) {
      this.#isOpen = false;
      this.#socket.write(code === NO_STATUS ? EMPTY_CLOSE : encodeClose(code, reason));
    }
    this.#leaveSocket();
  }

  onWrong(code: number, error: Error): void {
    // What the client goes on to send is read and dropped: unread, it would reset the connection before the client has
    // the code.
    if (this.#isOpen) {
      this.#isOpen = false;
      this.#cutLater();
      this.#socket.end(encodeClose(code, NOTHING));
    } else this.#endSocket();
    this.#listener?.onError(error);
  }

  /**
   * Both sides have said all. Where the kernel has taken it, the socket is closed at once, and the kernel delivers it
   * with the end: ending it and waiting for the client's end would cost two system calls, a wake-up and a timer more.
   * TLS says its own goodbye.
   */
  #leaveSocket(): void {
    const socket = this.#socket;
    if (socket.writableLength === 0 && !(socket instanceof TLSSocket)) {
      socket.destroy();
      return;
    }
    this.#cutLater();
    this.#endSocket();
  }

  #cutLater(): void {
    this.#closeTimer ??= setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS);
  }

  /** Once: the second time Node would make an error with a stack, which nobody sees. */
  #endSocket(): void {
    if (!this.#socket.writableEnded) this.#socket.end();
  }

  #pong(data: Buffer): void {
    if (this.#waitingPongs >= MAX_WAITING_PONGS) {
      this.terminate();
      return;
    }
    this.#waitingPongs++;
    this.#socket.write(encodeControl(FIN_AND_PONG, data), () => void this.#waitingPongs--);
  }
}

// The same functions for all sockets: closures would be kept for each, for days.

function onData(this: OwnedSocket, chunk: Buffer): void {
  this[END]?.received(chunk);
}

function onEnd(this: OwnedSocket): void {
  this[END]?.ended();
}

function onError(this: OwnedSocket): void {
  this[END]?.terminate();
}

function onClose(this: OwnedSocket): void {
  this[END]?.gone();
}

const EMPTY_CLOSE = encodeControl(FIN_AND_CLOSE, NOTHING);

function encodeClose(code: number, reason: Buffer): Buffer {
  const payload = Buffer.allocUnsafe(2 + reason.length);
  payload.writeUInt16BE(code, 0);
  reason.copy(payload, 2);
  return encodeControl(FIN_AND_CLOSE, payload);
}

/** @param payload at most 125 bytes */
function encodeControl(first: number, payload: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(2 + payload.length);
  frame[0] = first;
  frame[1] = payload.length;
  payload.copy(frame, 2);
  return frame;
}
