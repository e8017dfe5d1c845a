// push-node/app -> here: the server's end of a WebSocket; it closes only with the contract's codes.
// Guarantees: a message in too many parts closes with 1009, which clients know, instead of the 1008 of `ws`. Listening
// costs a field, not a closure for each event.
import type { Socket } from "node:net";
import type { Writable } from "node:stream";
import { WebSocket, type RawData } from "ws";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";

/** What happens on one socket. */
export interface SocketListener {
  onMessage(data: RawData, isBinary: boolean): void;
  /** A ping or a pong; `ws` has already answered a ping. */
  onControlFrame(): void;
  /** `ws` closes with the right code by itself. */
  onError(error: Error): void;
  /** Called once, at the end. */
  onClose(code: number): void;
}

/** The code with which `ws` refuses a message of too many fragments or pieces (RFC 6455: policy violation). */
const POLICY_VIOLATION = 1008;

export class ConnectionWebSocket extends WebSocket {
  /** Set by `listen`. */
  listener: SocketListener | undefined;

  /** Replaces the previous listener. */
  listen(listener: SocketListener): void {
    this.listener = listener;
    this.removeAllListeners("error");
    this.on("message", onMessage);
    this.on("ping", onControlFrame);
    this.on("pong", onControlFrame);
    this.on("error", onError);
    this.on("close", onClose);
  }

  override close(code?: number, reason?: string | Buffer): void {
    // `ws` echoes a client's own 1008, and passes a reason then.
    if (code === POLICY_VIOLATION && reason === undefined)
      super.close(closeCodes.messageTooBig, "too many parts");
    else super.close(code, reason);
    forgetEnd(this);
  }
}

/** Private members of `ws`. */
interface Inner {
  readonly _closeFrameReceived?: boolean;
  readonly _socket?: Socket | null;
  readonly _receiver?: Writable;
}

/**
 * Once both sides have closed, `ws` ends its socket and its receiver. At the client's own end it would end both again,
 * and at the socket's close the receiver once more. Each time Node creates an error with a stack that nobody sees, at a
 * thirtieth of a connection's cost.
 */
function forgetEnd(ws: unknown): void {
  const { _closeFrameReceived: hasReceived, _socket: socket, _receiver: receiver } = ws as Inner;
  if (hasReceived !== true) return;
  for (const listener of socket?.listeners("end") ?? []) {
    if (listener.name === "socketOnEnd") socket?.off("end", listener as () => void);
  }
  if (receiver !== undefined) receiver.end = endOnce;
}

/** Calls the class's own method once, then becomes a no-op. */
function endOnce(this: Writable): Writable {
  Reflect.deleteProperty(this, "end");
  this.end();
  this.end = hasEnded;
  return this;
}

function hasEnded(this: Writable): Writable {
  return this;
}

// Shared by all sockets: `ws` calls them with the socket as `this`.

function listenerOf(socket: WebSocket): SocketListener | undefined {
  return socket instanceof ConnectionWebSocket ? socket.listener : undefined;
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  listenerOf(this)?.onMessage(data, isBinary);
}

function onControlFrame(this: WebSocket): void {
  listenerOf(this)?.onControlFrame();
}

function onError(this: WebSocket, error: Error): void {
  listenerOf(this)?.onError(error);
}

function onClose(this: WebSocket, code: number): void {
  listenerOf(this)?.onClose(code);
}
