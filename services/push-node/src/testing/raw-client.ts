// Tests only: a WebSocket client that writes raw bytes, for what a well-behaved library would not send, or would not
// leave unread.
// Guarantees: frames are masked as RFC 6455 requires. Everything received is kept, the handshake's answer separately.
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { waitFor } from "@petrel/shared/testing/wait-for";

export interface RawFrame {
  readonly opcode: number;
  readonly payload: Buffer;
}

export interface RawClient {
  readonly socket: Socket;
  /** The handshake's answer: status line and headers, and the body if it was refused. */
  readonly answer: string;
  readonly send: (opcode: number, payload: Buffer, isLast?: boolean) => void;
  readonly text: (frame: unknown) => void;
  readonly frames: () => readonly RawFrame[];
  readonly closeCode: (deadlineMs?: number) => Promise<number>;
  readonly untilGone: (deadlineMs?: number) => Promise<void>;
  readonly isGone: () => boolean;
}

export interface RawOptions {
  readonly port: number;
  readonly path?: string;
  /** The whole head to send; the other options are ignored then. */
  readonly head?: string;
  /** Replace or extend the usual ones; undefined omits one. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Linux assigns all of 127.0.0.0/8 to this machine: an address of one's own. */
  readonly localAddress?: string;
}

export async function openRaw(options: RawOptions): Promise<RawClient> {
  const { port, path = "/v1/connect", headers = {}, localAddress = "127.0.0.1" } = options;
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  const chunks: Buffer[] = [];
  let gone = false;
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("error", () => undefined);
  socket.on("close", () => (gone = true));
  const all: Record<string, string | undefined> = {
    host: `127.0.0.1:${port}`,
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": randomBytes(16).toString("base64"),
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== undefined);
  const usual = `GET ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
  socket.write(options.head ?? usual);
  const headEnd = (): number => Buffer.concat(chunks).indexOf("\r\n\r\n");
  await waitFor(() => headEnd() > 0 || gone, { what: "the handshake's answer", everyMs: 2 });
  const isUpgraded = Buffer.concat(chunks).toString("latin1").startsWith("HTTP/1.1 101");
  if (!isUpgraded) await waitFor(() => gone, { what: "the refused socket's end", everyMs: 2 });

  const send = (opcode: number, payload: Buffer, isLast = true): void => {
    socket.write(maskedFrame(opcode, payload, isLast));
  };
  const framesFrom = headEnd() + 4;
  /** Read again only when more has come: some tests let megabytes come, and ask all the time. */
  let read: { readonly chunkCount: number; readonly frames: RawFrame[] } = { chunkCount: -1, frames: [] };
  const frames = (): RawFrame[] => {
    if (read.chunkCount !== chunks.length)
      read = { chunkCount: chunks.length, frames: readFrames(Buffer.concat(chunks).subarray(framesFrom)) };
    return read.frames;
  };
  return {
    socket,
    answer: Buffer.concat(chunks)
      .subarray(0, isUpgraded ? headEnd() : undefined)
      .toString("utf8"),
    send,
    text: (frame) => send(1, Buffer.from(JSON.stringify(frame))),
    frames,
    closeCode: async (deadlineMs = 30_000) => {
      const close = await waitFor(() => frames().find(({ opcode }) => opcode === 8), {
        what: "a close frame",
        deadlineMs,
        everyMs: 5,
      });
      return close.payload.readUInt16BE(0);
    },
    isGone: () => gone,
    untilGone: async (deadlineMs = 30_000) => {
      await waitFor(() => gone, { what: "the socket's end", deadlineMs, everyMs: 5 });
    },
  };
}

export function maskedFrame(opcode: number, payload: Buffer, isLast: boolean): Buffer {
  const mask = randomBytes(4);
  const { length } = payload;
  const header = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  header[0] = (isLast ? 0x80 : 0) | opcode;
  header[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127);
  if (header.length === 4) header.writeUInt16BE(length, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([header, mask, payload.map((byte, i) => byte ^ (mask[i % 4] ?? 0))]);
}

function readFrames(bytes: Buffer): RawFrame[] {
  const frames: RawFrame[] = [];
  let at = 0;
  while (at + 2 <= bytes.length) {
    const short = (bytes[at + 1] ?? 0) & 0x7f;
    const headerLength = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (at + headerLength > bytes.length) break;
    const length =
      short < 126
        ? short
        : short === 126
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2));
    const end = at + headerLength + length;
    if (end > bytes.length) break;
    frames.push({ opcode: (bytes[at] ?? 0) & 0x0f, payload: bytes.subarray(at + headerLength, end) });
    at = end;
  }
  return frames;
}
