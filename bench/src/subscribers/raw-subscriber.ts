// Bench: one subscriber: a TCP socket that upgrades, subscribes, and then only reads.
// Guarantees: `subscribed` resolves when its server has confirmed every topic; protocol pings are answered.
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { dialects, type DialectName } from "./dialects.js";
import {
  CLOSE_FRAME,
  FrameReader,
  goingAwayFrame,
  PING_FRAME,
  pongFrame,
  textFrame,
} from "./frame-reader.js";
import { LateAcks } from "./late-acks.js";
import { findMark, numberAfter, numberOf, sentAtUsOf } from "./marked-message.js";

/** Where a subscriber gets in, and what it wants there. */
export interface Entrance {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly dialect: DialectName;
  readonly topics: readonly string[];
  /** The address that it comes from: one address has some 28,000 ports. */
  readonly localAddress?: string;
  /** How long acknowledgements wait for company, where there are any. */
  readonly ackDelayMs?: number;
}

/** @param offset -1 where the server does not number its messages */
export type OnMessage = (n: number, sentAtUs: number, offset: number) => void;

export interface RawSubscriber {
  readonly subscribed: Promise<void>;
  /** Says goodbye; resolves when the server has closed the connection. */
  readonly leave: () => Promise<void>;
  readonly close: () => void;
}

const SUBSCRIBE_DEADLINE_MS = 60_000;
const LEAVE_DEADLINE_MS = 5_000;
const LINE_FEED = 10;
const headEnd = Buffer.from("\r\n\r\n");

/**
 * @param buffer all sockets of a process read into the same one: what was read is dealt with before the next read
 * @param onEnded the server ended the connection, or it broke
 */
export function openRawSubscriber(
  entrance: Entrance,
  buffer: Buffer,
  { onMessage, onEnded }: { readonly onMessage: OnMessage; readonly onEnded: (why: string) => void },
): RawSubscriber {
  const { port, path, headers, topics, localAddress, ackDelayMs = 0 } = entrance;
  const dialect = dialects[entrance.dialect];
  const offsetKey = dialect.offsetKey === undefined ? undefined : Buffer.from(dialect.offsetKey);
  const { ack } = dialect;
  const acks =
    ack === undefined ? undefined : new LateAcks(ackDelayMs, (seq) => socket.write(textFrame(ack(seq))));
  let missing = topics.length;
  let isClosing = false;
  let head: Buffer | undefined = Buffer.alloc(0);
  let settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
  const subscribed = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`not subscribed after ${SUBSCRIBE_DEADLINE_MS} ms`)),
      SUBSCRIBE_DEADLINE_MS,
    );
    settle = {
      resolve: () => (clearTimeout(timer), resolve()),
      reject: (error) => (clearTimeout(timer), reject(error)),
    };
  });

  const control = (text: string): void => {
    const { subscribed: count = 0, answers = [], refused } = dialect.hear(text, topics);
    if (refused !== undefined) settle?.reject(new Error(`refused: ${refused}`));
    for (const answer of answers) socket.write(textFrame(answer));
    if (count === 0) return;
    missing -= count;
    if (missing <= 0) settle?.resolve();
  };

  const readMessage = (from: Buffer, start: number, end: number): void => {
    const mark = findMark(from, start, end);
    if (mark === -1) {
      control(from.toString("utf8", start, end));
      return;
    }
    const offset = offsetKey === undefined ? -1 : numberAfter(from, offsetKey, start, end);
    onMessage(numberOf(from, mark), sentAtUsOf(from, mark), offset);
    acks?.heard(offset);
  };

  const frames = new FrameReader((opcode, from, start, end) => {
    if (opcode === PING_FRAME) socket.write(pongFrame(Buffer.from(from.subarray(start, end))));
    if (opcode >= CLOSE_FRAME) return;
    if (!dialect.hasLines) {
      readMessage(from, start, end);
      return;
    }
    for (let at = start; at < end;) {
      const found = from.indexOf(LINE_FEED, at);
      const lineEnd = found === -1 || found > end ? end : found;
      readMessage(from, at, lineEnd);
      at = lineEnd + 1;
    }
  });

  const readHead = (chunk: Buffer, to: number): void => {
    head = Buffer.concat([head ?? Buffer.alloc(0), chunk.subarray(0, to)]);
    const at = head.indexOf(headEnd);
    if (at === -1) return;
    const whole = head;
    head = undefined;
    if (!whole.toString("latin1", 0, 12).startsWith("HTTP/1.1 101")) {
      settle?.reject(new Error(`refused: ${whole.toString("latin1")}`));
      socket.destroy();
      return;
    }
    for (const text of dialect.opening) socket.write(textFrame(text));
    if (dialect.isSubscribedByUpgrade) settle?.resolve();
    if (whole.length > at + 4) frames.read(whole, at + 4, whole.length);
  };

  const socket: Socket = connect({
    port,
    host: "127.0.0.1",
    ...(localAddress === undefined ? {} : { localAddress }),
    onread: {
      buffer,
      callback: (bytes) => {
        if (head === undefined) frames.read(buffer, 0, bytes);
        else readHead(buffer, bytes);
        return true;
      },
    },
  });
  socket.setNoDelay(true);
  socket.once("connect", () => socket.write(upgradeRequest(port, path, headers)));
  socket.on("error", (error) => {
    settle?.reject(error);
    if (!isClosing) onEnded(error.message);
  });
  socket.once("close", () => {
    acks?.stop();
    settle?.reject(new Error("closed before it was subscribed"));
    if (!isClosing) onEnded("closed");
  });
  return {
    subscribed,
    leave: () => {
      isClosing = true;
      acks?.stop();
      return new Promise((resolve) => {
        const timer = setTimeout(() => socket.destroy(), LEAVE_DEADLINE_MS);
        socket.once("end", () => socket.destroy());
        socket.once("close", () => (clearTimeout(timer), resolve()));
        if (socket.destroyed) resolve();
        else socket.write(goingAwayFrame());
      });
    },
    close: () => {
      isClosing = true;
      acks?.stop();
      socket.destroy();
    },
  };
}

function upgradeRequest(port: number, path: string, headers: Readonly<Record<string, string>>): string {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}
