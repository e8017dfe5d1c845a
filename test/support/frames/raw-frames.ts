// Tests only: WebSocket frames as bytes, right or wrong.
// Guarantees: unless asked to be wrong, a frame follows RFC 6455 section 5.2; the mask is always the same.

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

export interface FrameParts {
  readonly opcode: number;
  readonly payload?: Buffer | string;
  readonly fin?: boolean;
  /** The three reserved bits, RSV1 the highest. */
  readonly rsv?: number;
  readonly masked?: boolean;
  /** The length that the header declares, in 64 bits, whatever follows. */
  readonly length?: bigint;
}

/** A frame as in RFC 6455 section 5.2, or not quite. */
export function frame({
  opcode,
  payload = "",
  fin = true,
  rsv = 0,
  masked = true,
  length,
}: FrameParts): Buffer {
  const bytes = Buffer.from(payload);
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const maskBit = masked ? 0x80 : 0;
  const header = Buffer.alloc(
    length !== undefined || bytes.length > 65_535 ? 10 : bytes.length > 125 ? 4 : 2,
  );
  header[0] = first;
  header[1] = maskBit | (header.length === 10 ? 127 : header.length === 4 ? 126 : bytes.length);
  if (header.length === 4) header.writeUInt16BE(bytes.length, 2);
  if (header.length === 10) header.writeBigUInt64BE(length ?? BigInt(bytes.length), 2);
  if (!masked) return Buffer.concat([header, bytes]);
  const mask = Buffer.from([1, 2, 3, 4]);
  return Buffer.concat([header, mask, bytes.map((byte, i) => byte ^ (mask[i % 4] ?? 0))]);
}

export const text = (payload: string): Buffer => frame({ opcode: TEXT, payload });
export const json = (value: unknown): Buffer => text(JSON.stringify(value));
export const start = (payload: Buffer | string): Buffer => frame({ opcode: TEXT, payload, fin: false });
export const more = (payload: Buffer | string, fin = true): Buffer => frame({ opcode: 0, payload, fin });
export const hex = (digits: string): Buffer => Buffer.from(digits, "hex");
export const closing = (code: number, reason = ""): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(code);
  return frame({ opcode: CLOSE, payload: Buffer.concat([bytes, Buffer.from(reason)]) });
};
export const repeated = (bytes: Buffer, count: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => bytes));
