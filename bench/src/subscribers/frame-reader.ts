// Bench: cuts what a server sends into WebSocket frames, at the least cost to the reader.
// Guarantees: every frame once, in order, wherever the reads were cut; unmasked frames only, as servers send them.

export const TEXT_FRAME = 1;
export const CLOSE_FRAME = 8;
export const PING_FRAME = 9;
const PONG_FRAME = 10;

/** The payload lies in `buffer` from `start` to `end`, until the call returns. */
export type OnFrame = (opcode: number, buffer: Buffer, start: number, end: number) => void;

export class FrameReader {
  /** The beginning of a frame that was cut. */
  private rest: Buffer | undefined;

  constructor(private readonly onFrame: OnFrame) {}

  /** @param chunk used again by the caller once this returns */
  read(chunk: Buffer, from: number, to: number): void {
    const { rest } = this;
    if (rest === undefined) {
      this.cut(chunk, from, to);
      return;
    }
    const joined = Buffer.concat([rest, chunk.subarray(from, to)]);
    this.rest = undefined;
    this.cut(joined, 0, joined.length);
  }

  private cut(buffer: Buffer, from: number, to: number): void {
    let at = from;
    while (to - at >= 2) {
      let start = at + 2;
      let length = (buffer[at + 1] ?? 0) & 127;
      if (length === 126) {
        if (to - at < 4) break;
        length = buffer.readUInt16BE(at + 2);
        start = at + 4;
      } else if (length === 127) {
        if (to - at < 10) break;
        length = Number(buffer.readBigUInt64BE(at + 2));
        start = at + 10;
      }
      const end = start + length;
      if (end > to) break;
      this.onFrame((buffer[at] ?? 0) & 15, buffer, start, end);
      at = end;
    }
    if (at < to) this.rest = Buffer.from(buffer.subarray(at, to));
  }
}

/** A client's frame. Its mask is zero, which every server takes and costs nothing. */
export function textFrame(text: string): Buffer {
  return maskedFrame(TEXT_FRAME, Buffer.from(text));
}

export function pongFrame(payload: Buffer): Buffer {
  return maskedFrame(PONG_FRAME, payload);
}

/** The client goes away, as a page that is closed. */
export function goingAwayFrame(): Buffer {
  return maskedFrame(CLOSE_FRAME, Buffer.from([1001 >> 8, 1001 & 255]));
}

function maskedFrame(opcode: number, payload: Buffer): Buffer {
  if (payload.length > 0xffff) throw new Error(`a client's frame of ${payload.length} bytes`);
  const isShort = payload.length < 126;
  const head = Buffer.alloc(isShort ? 6 : 8);
  head[0] = 0x80 | opcode;
  if (isShort) head[1] = 0x80 | payload.length;
  else {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(payload.length, 2);
  }
  return Buffer.concat([head, payload]);
}
