// Tests only: a business system's webhook address, as a real HTTP server that behaves as it is told.
// Guarantees: every request is kept as it arrived, before it is answered; `close()` leaves no socket.
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Tells connections apart. */
  readonly connection: number;
}

export type AnswerRequest = (request: ReceivedRequest, response: ServerResponse, socket: Socket) => void;

export interface WebhookReceiver {
  readonly url: string;
  readonly requests: readonly ReceivedRequest[];
  answerWith(answer: AnswerRequest): void;
  close(): Promise<void>;
}

export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  const requests: ReceivedRequest[] = [];
  const numbers = new WeakMap<Socket, number>();
  let connections = 0;
  let answer: AnswerRequest = (_request, response) => void response.writeHead(204).end();
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    request.on("end", () => {
      const { method = "", url: path = "", headers, socket } = request;
      const received: ReceivedRequest = {
        method,
        path,
        headers,
        body: Buffer.concat(chunks).toString(),
        connection: numbers.get(socket) ?? 0,
      };
      requests.push(received);
      answer(received, response, socket);
    });
  });
  server.on("connection", (socket: Socket) => void numbers.set(socket, ++connections));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?to=petrel`,
    requests,
    answerWith: (next) => void (answer = next),
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
