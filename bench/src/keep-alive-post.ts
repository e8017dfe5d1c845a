// Bench: one publisher's connection: posts, waits for the answer, posts again.
// Guarantees: one request at a time; an answer that is not 2xx, or none, rejects.
import { connect, type Socket } from "node:net";

export interface PostRequest {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface KeepAlivePost {
  /** Every request goes to the port of the first one. */
  readonly post: (request: PostRequest) => Promise<void>;
  readonly close: () => void;
}

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export function openKeepAlivePost(port: number): KeepAlivePost {
  let socket: Socket | undefined;
  let waiting: Waiting | undefined;
  let answer = "";
  const open = (): Socket => {
    const opened = connect(port, "127.0.0.1");
    opened.setNoDelay(true);
    answer = "";
    const ended = (error: Error): void => {
      if (socket !== opened) return;
      socket = undefined;
      waiting?.reject(error);
      waiting = undefined;
    };
    opened.once("error", ended);
    opened.once("close", () => ended(new Error("the server closed a publisher's connection")));
    opened.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1");
      const length = lengthOfAnswer(answer);
      if (length === undefined || answer.length < length) return;
      const whole = answer.slice(0, length);
      answer = answer.slice(length);
      const settled = waiting;
      waiting = undefined;
      if (whole.startsWith("HTTP/1.1 2")) settled?.resolve();
      else settled?.reject(new Error(`answered ${whole}`));
    });
    return opened;
  };
  return {
    post: ({ path, headers, body }) =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        // A server closes what has been idle.
        socket ??= open();
        const named = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
        socket.write(
          `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${named.join("")}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
        );
      }),
    close: () => socket?.destroy(),
  };
}

/** Undefined until the end of the answer is known. */
function lengthOfAnswer(answer: string): number | undefined {
  const headEnd = answer.indexOf("\r\n\r\n");
  if (headEnd === -1) return undefined;
  const head = answer.slice(0, headEnd);
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (length !== undefined) return headEnd + 4 + Number(length);
  if (!/^transfer-encoding: *chunked/im.test(head)) return headEnd + 4;
  const end = answer.indexOf("0\r\n\r\n", headEnd + 4);
  return end === -1 ? undefined : end + 5;
}
