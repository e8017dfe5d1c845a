// push-node/connection/connection-web-socket -> here: a client's bytes as messages, pings, pongs and its close.
// Guarantees: judges frames as RFC 6455 requires of a server. It parses complete, plain frames itself, and nearly all
// are. Anything else, including invalid frames, goes to the receiver of `ws`, which is created on demand and then keeps
// reading.
import { isUtf8 } from "node:buffer";
import type { Writable } from "node:stream";
import * as ws from "ws";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";

export interface FrameBounds {
  readonly maxBytes: number;
  readonly maxFragments: number;
}

/** What a client has sent. */
export interface FrameListener {
  onMessage(data: Buffer, isBinary: boolean): void;
  onPing(data: Buffer): void;
  onPong(): void;
  /** Called once; nothing comes after it. @param code 1005 if the frame had none */
  onEnd(code: number, reason: Buffer): void;
  /** The same, instead of `onEnd`. @param code to close with */
  onWrong(code: number, error: Error): void;
}

/** Exported by `ws`, but missing in its types. */
const { Receiver } = ws as unknown as {
  readonly Receiver: new (options: {
    readonly isServer: boolean;
    readonly maxPayload: number;
    readonly maxFragments: number;
    readonly maxBufferedChunks: number;
  }) => Writable;
};

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const FIN_ALONE = 0x80;
const MASKED = 0x80;
const MASK_BYTES = 4;
/** Two bytes and the mask. */
const HEAD_BYTES = 6;
const LONGEST_SHORT = 125;
const LENGTH_IN_16_BITS = 126;
const LONG_HEAD_BYTES = 8;
/** RFC 6455 section 7.4.1. */
const NO_STATUS = 1005;
/**
 * Pieces of an unfinished frame: sent in packets of one byte each, they would take a hundred times their size in
 * memory.
 */
const MAX_PIECES = 1_024;
const NOTHING = Buffer.alloc(0);

export class ClientFrames {
  readonly #bounds: FrameBounds;
  readonly #listener: FrameListener;
  #receiver: Writable | undefined;
  #isOver = false;

  constructor(bounds: FrameBounds, listener: FrameListener) {
    this.#bounds = bounds;
    this.#listener = listener;
  }

  /** @param chunk is modified */
  read(chunk: Buffer): void {
    if (this.#isOver) return;
    const rest = this.#receiver === undefined ? this.#readPlain(chunk) : chunk;
    if (rest !== undefined) (this.#receiver ??= this.#makeReceiver()).write(rest);
  }

  /** @returns the rest, for the receiver */
  #readPlain(chunk: Buffer): Buffer | undefined {
    const { length } = chunk;
    let at = 0;
    while (length - at >= HEAD_BYTES) {
      const first = chunk[at] ?? 0;
      const second = chunk[at + 1] ?? 0;
      const opcode = first & 0x0f;
      let size = second & 0x7f;
      let start = at + HEAD_BYTES;
      if (size === LENGTH_IN_16_BITS && opcode === TEXT && length - at >= LONG_HEAD_BYTES) {
        size = chunk.readUInt16BE(at + 2);
        start = at + LONG_HEAD_BYTES;
      } else if (size > LONGEST_SHORT) break;
      if (size > this.#bounds.maxBytes) break;
      const end = start + size;
      if ((first & 0xf0) !== FIN_ALONE || second < MASKED || end > length) break;
      unmask(chunk, start, end);
      if (!this.#take(opcode, chunk.subarray(start, end))) break;
      if (this.#isOver) return undefined;
      at = end;
    }
    return at === length ? undefined : chunk.subarray(at);
  }

  /** @returns false if the receiver must judge it */
  #take(opcode: number, payload: Buffer): boolean {
    if (opcode === TEXT) {
      if (!isUtf8(payload)) return false;
      this.#listener.onMessage(payload, false);
    } else if (opcode === PONG) this.#listener.onPong();
    else if (opcode === PING) this.#listener.onPing(payload);
    else if (opcode === CLOSE) return this.#takeClose(payload);
    else return false;
    return true;
  }

  #takeClose(payload: Buffer): boolean {
    const isEmpty = payload.length === 0;
    if (payload.length === 1) return false;
    const code = isEmpty ? NO_STATUS : payload.readUInt16BE(0);
    const reason = isEmpty ? NOTHING : payload.subarray(2);
    if (!isEmpty && !(isGoodCloseCode(code) && isUtf8(reason))) return false;
    this.#isOver = true;
    this.#listener.onEnd(code, reason);
    return true;
  }

  #makeReceiver(): Writable {
    const { maxBytes: maxPayload, maxFragments } = this.#bounds;
    const listener = this.#listener;
    return new Receiver({ isServer: true, maxPayload, maxFragments, maxBufferedChunks: MAX_PIECES })
      .on("message", (data: Buffer, isBinary: boolean) => listener.onMessage(data, isBinary))
      .on("ping", (data: Buffer) => listener.onPing(data))
      .on("pong", () => listener.onPong())
      .on("conclude", (code: number, reason: Buffer) => {
        this.#isOver = true;
        listener.onEnd(code, reason);
      })
      .on("error", (error: Error & { readonly code?: string }) => {
        this.#isOver = true;
        listener.onWrong(closeCodeOf(error.code), error);
      });
  }
}

/** In place; the mask becomes zero, so that the frame still means the same. */
function unmask(chunk: Buffer, start: number, end: number): void {
  const maskAt = start - MASK_BYTES;
  for (let i = start; i < end; i++) {
    chunk[i] = (chunk[i] ?? 0) ^ (chunk[maskAt + ((i - start) & 3)] ?? 0);
  }
  chunk[maskAt] = 0;
  chunk[maskAt + 1] = 0;
  chunk[maskAt + 2] = 0;
  chunk[maskAt + 3] = 0;
}

/**
 * The codes that a frame may carry: those of RFC 6455 and its registry, and the ranges for libraries and applications.
 */
function isGoodCloseCode(code: number): boolean {
  if (code < 3_000) return code >= 1_000 && code <= 1_014 && (code < 1_004 || code > 1_006);
  return code < 5_000;
}

/** From the code of the error in `ws`; a message of too many parts closes like one that is too big. */
function closeCodeOf(errorCode: string | undefined): number {
  switch (errorCode) {
    case "WS_ERR_INVALID_UTF8":
      return closeCodes.invalidPayload;
    case "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH":
    case "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH":
    case "WS_ERR_TOO_MANY_BUFFERED_PARTS":
      return closeCodes.messageTooBig;
    default:
      return closeCodes.protocolError;
  }
}
