// A connection to one Redis or sentinel, for an operator's few commands.
// Guarantees: answers come in the order of the requests; if the server stays silent or the link ends, every waiting
// request fails.
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { CliError, describeError } from "../cli-error.js";

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

export interface RedisAccess {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Set if the link is encrypted. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined;
}

/** Errors that Redis answers are thrown, not returned. */
export type RedisReply = string | number | null | readonly RedisReply[];

interface Waiting {
  readonly resolve: (reply: RedisReply) => void;
  readonly reject: (error: Error) => void;
}

/** Redis answered with an error. */
export class RedisError extends CliError {}

const ANSWER_MS = 3_000;

export function formatAddress({ host, port }: RedisAddress): string {
  return `${host}:${port}`;
}

export class RedisLink {
  readonly address: RedisAddress;
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  #received: Buffer = Buffer.alloc(0);
  #failure: Error | undefined;

  private constructor(address: RedisAddress, socket: Socket) {
    this.address = address;
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setTimeout(ANSWER_MS, () => {
      if (this.#waiting.length > 0) socket.destroy(new Error(`no answer within ${ANSWER_MS} ms`));
    });
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", (error) => (this.#failure = error));
    socket.on("close", () => {
      const reason = describeError(this.#failure ?? new Error("the connection was closed"));
      this.#failure = new CliError(`${formatAddress(address)}: ${reason}`);
      for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
    });
  }

  /** @throws CliError */
  static async open(address: RedisAddress, access: RedisAccess): Promise<RedisLink> {
    const { username, password, tls } = access;
    const { host, port } = address;
    const socket =
      tls === undefined ? connectTcp({ host, port }) : connectTls({ host, port, servername: host, ...tls });
    const link = new RedisLink(address, socket);
    if (password !== undefined) {
      await link.ask("AUTH", ...(username === undefined ? [] : [username]), password);
    }
    await link.ask("PING");
    return link;
  }

  /** @throws RedisError if Redis answers with an error; CliError if it does not answer */
  async ask(...words: readonly string[]): Promise<RedisReply> {
    if (this.#socket.destroyed && this.#failure !== undefined) throw this.#failure;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
      this.#socket.write(`*${words.length}\r\n${parts.join("")}`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    for (;;) {
      const parsed = parseReply(this.#received, 0);
      if (parsed === undefined) return;
      this.#received = this.#received.subarray(parsed.end);
      const asked = this.#waiting.shift();
      if (parsed.value instanceof Error) {
        asked?.reject(new RedisError(`${formatAddress(this.address)}: ${parsed.value.message}`));
      } else asked?.resolve(parsed.value);
    }
  }
}

interface Parsed {
  readonly value: RedisReply | Error;
  readonly end: number;
}

/** @returns undefined if the reply is not complete yet */
function parseReply(buffer: Buffer, start: number): Parsed | undefined {
  const lineEnd = buffer.indexOf("\r\n", start);
  if (lineEnd === -1) return undefined;
  const line = buffer.toString("utf8", start + 1, lineEnd);
  const end = lineEnd + 2;
  const length = Number(line);
  switch (buffer.toString("latin1", start, start + 1)) {
    case "+":
      return { value: line, end };
    case "-":
      return { value: new Error(line), end };
    case ":":
      return { value: length, end };
    case "$":
      if (length < 0) return { value: null, end };
      if (buffer.length < end + length + 2) return undefined;
      return { value: buffer.toString("utf8", end, end + length), end: end + length + 2 };
    case "*":
      return length < 0 ? { value: null, end } : parseItems(buffer, end, length);
    default:
      return { value: new Error("this is not Redis' protocol"), end: buffer.length };
  }
}

function parseItems(buffer: Buffer, start: number, count: number): Parsed | undefined {
  const items: RedisReply[] = [];
  let end = start;
  while (items.length < count) {
    const item = parseReply(buffer, end);
    if (item === undefined) return undefined;
    items.push(item.value instanceof Error ? item.value.message : item.value);
    end = item.end;
  }
  return { value: items, end };
}
