// Embedded Redis and the local run: asks a Redis a few questions over a plain socket, before any client is built.
// Guarantees: one connection, closed again within a deadline; the URL's user, password and TLS are honoured.
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { EmbeddedRedisError } from "./embedded-redis-error.js";

/** A reply of RESP2: https://redis.io/docs/latest/develop/reference/protocol-spec/ */
export type Reply = string | number | null | RespError | readonly Reply[];

export class RespError {
  constructor(readonly message: string) {}
}

/**
 * Sends commands in one go and returns their replies in order; an error reply is a value (`RespError`).
 * @param url redis://[user:password@]host:port or rediss://…; an IPv6 host without its brackets
 * @throws EmbeddedRedisError "probe-failed" if there is no connection, no answer in time, or a wrong password
 */
export async function probeRedis(
  url: string,
  commands: readonly (readonly string[])[],
  { deadlineMs = 3_000 }: { readonly deadlineMs?: number } = {},
): Promise<Reply[]> {
  const target = new URL(url);
  const password = decodeURIComponent(target.password);
  const user = decodeURIComponent(target.username);
  const login = password === "" ? [] : [user === "" ? ["AUTH", password] : ["AUTH", user, password]];
  const replies = await exchange(target, [...login, ...commands], deadlineMs);
  const [first] = replies;
  if (login.length > 0 && first instanceof RespError) {
    throw new EmbeddedRedisError("probe-failed", `the login was refused (${first.message})`);
  }
  return replies.slice(login.length);
}

function exchange(
  target: URL,
  commands: readonly (readonly string[])[],
  deadlineMs: number,
): Promise<Reply[]> {
  return new Promise((resolve, reject) => {
    const socket = open(target);
    let received = Buffer.alloc(0);
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      settle();
    };
    const fail = (message: string, cause?: unknown): void =>
      finish(() => reject(new EmbeddedRedisError("probe-failed", message, { cause })));
    const timer = setTimeout(() => fail(`no answer within ${deadlineMs} ms`), deadlineMs);

    socket.on("error", (error) => fail(error.message === "" ? String(error) : error.message, error));
    socket.on("close", () => fail("the connection was closed"));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      try {
        const replies = parseReplies(received, commands.length);
        if (replies !== undefined) finish(() => resolve(replies));
      } catch (error) {
        fail("it does not speak Redis' protocol", error);
      }
    });
    socket.write(commands.map(encode).join(""));
  });
}

function open(target: URL): Socket {
  const host = target.hostname.replace(/^\[|\]$/g, "") || "127.0.0.1";
  const port = target.port === "" ? 6379 : Number(target.port);
  return target.protocol === "rediss:"
    ? connectTls({ host, port, ...(isIP(host) === 0 ? { servername: host } : {}) })
    : connectTcp({ host, port });
}

function encode(command: readonly string[]): string {
  return `*${command.length}\r\n${command.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`;
}

/** @returns the replies once all of them are there, else undefined */
function parseReplies(bytes: Buffer, count: number): Reply[] | undefined {
  const replies: Reply[] = [];
  let at = 0;
  while (replies.length < count) {
    const parsed = parseReply(bytes, at);
    if (parsed === undefined) return undefined;
    replies.push(parsed.reply);
    at = parsed.next;
  }
  return replies;
}

function parseReply(bytes: Buffer, at: number): { reply: Reply; next: number } | undefined {
  const lineEnd = bytes.indexOf("\r\n", at);
  if (lineEnd === -1) return undefined;
  const line = bytes.toString("utf8", at + 1, lineEnd);
  const next = lineEnd + 2;
  switch (String.fromCharCode(bytes[at] ?? 0)) {
    case "+":
      return { reply: line, next };
    case "-":
      return { reply: new RespError(line), next };
    case ":":
      return { reply: Number(line), next };
    case "$": {
      const length = Number(line);
      if (length === -1) return { reply: null, next };
      if (bytes.length < next + length + 2) return undefined;
      return { reply: bytes.toString("utf8", next, next + length), next: next + length + 2 };
    }
    case "*": {
      const items: Reply[] = [];
      let itemAt = next;
      for (let i = 0; i < Number(line); i++) {
        const item = parseReply(bytes, itemAt);
        if (item === undefined) return undefined;
        items.push(item.reply);
        itemAt = item.next;
      }
      return { reply: items, next: itemAt };
    }
    default:
      throw new Error(`unexpected byte ${bytes[at] ?? 0}`);
  }
}
