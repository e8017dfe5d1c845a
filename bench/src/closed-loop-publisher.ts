// Bench: publishers that each post, wait for the answer, and post again, over raw keep-alive sockets.
// Guarantees: `publishers` requests are under way at any time; every answer is checked for 202.
import { connect, type Socket } from "node:net";

export interface PublishOptions {
  readonly port: number;
  readonly path: string;
  readonly authorization: string;
  /** The bodies to post, shared among the publishers; each is posted once. */
  readonly bodies: Iterator<string>;
  readonly publishers: number;
}

/** Resolves when every body was posted and answered; rejects at the first answer that is not 202. */
export async function publishAll(options: PublishOptions): Promise<void> {
  await Promise.all(Array.from({ length: options.publishers }, () => publishLoop(options)));
}

function publishLoop({ port, path, authorization, bodies }: PublishOptions): Promise<void> {
  const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: ${authorization}\r\nContent-Type: application/json\r\nContent-Length: `;
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, "127.0.0.1");
    let answer = "";
    const postNext = (): void => {
      const { value, done } = bodies.next();
      if (done === true) {
        socket.end();
        resolve();
        return;
      }
      const body = value;
      socket.write(`${head}${Buffer.byteLength(body)}\r\n\r\n${body}`);
    };
    socket.setNoDelay(true);
    socket.on("connect", postNext);
    socket.on("error", reject);
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1");
      const headEnd = answer.indexOf("\r\n\r\n");
      if (headEnd === -1) return;
      const length = Number(/content-length: (\d+)/i.exec(answer)?.[1] ?? 0);
      if (answer.length < headEnd + 4 + length) return;
      if (!answer.startsWith("HTTP/1.1 202")) {
        reject(new Error(`answered ${answer}`));
        socket.destroy();
        return;
      }
      answer = "";
      postNext();
    });
  });
}
