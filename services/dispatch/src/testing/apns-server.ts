// Tests only: a bare HTTP/2 server in Apple's place, for transport faults; it checks nothing that Apple checks.
// Guarantees: every request is recorded with its connection; `mostAtOnce` is the largest number of open streams.
import { once } from "node:events";
import {
  createSecureServer,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import {
  testAuthority,
  testCertificate,
  testCertificateKey,
} from "@petrel/shared/testing/tls/tls-certificate";

export interface ApnsServerRequest {
  /** 0 for the first connection. */
  readonly connection: number;
  readonly session: ServerHttp2Session;
  readonly stream: ServerHttp2Stream;
  readonly apnsId: string;
  readonly headers: IncomingHttpHeaders & IncomingHttpStatusHeader;
  readonly body: string;
  /** Of this connection, 0 for the first. */
  readonly index: number;
}

export interface ApnsServer {
  readonly port: number;
  readonly endpoint: string;
  readonly ca: string;
  /** In the order in which their bodies ended. */
  readonly requests: ApnsServerRequest[];
  /** All that were ever opened. */
  readonly sessions: ServerHttp2Session[];
  /** Per connection: the most streams that were open at the same time. */
  readonly mostAtOnce: number[];
  readonly stop: () => Promise<void>;
}

export function answer(
  { stream, apnsId }: ApnsServerRequest,
  status = 200,
  body?: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (stream.destroyed || stream.closed) return;
  stream.respond({ ":status": status, "apns-id": apnsId, ...headers });
  stream.end(body === undefined ? undefined : JSON.stringify(body));
}

/** @param onRequest may answer it or not */
export async function startApnsServer(
  onRequest: (request: ApnsServerRequest) => void,
  options: SecureServerOptions = {},
): Promise<ApnsServer> {
  const requests: ApnsServerRequest[] = [];
  const sessions: ServerHttp2Session[] = [];
  const mostAtOnce: number[] = [];
  const sockets = new Set<Socket>();
  const server = createSecureServer({ cert: testCertificate, key: testCertificateKey, ...options });
  server.on("session", (session) => {
    const connection = sessions.push(session) - 1;
    mostAtOnce[connection] = 0;
    let open = 0;
    let index = 0;
    session.on("error", () => undefined);
    session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      open++;
      mostAtOnce[connection] = Math.max(mostAtOnce[connection] ?? 0, open);
      stream.on("error", () => undefined);
      stream.on("close", () => open--);
      let body = "";
      stream.setEncoding("utf8");
      stream.on("data", (chunk: string) => (body += chunk));
      const number = index++;
      stream.on("end", () => {
        const apnsId = String(headers["apns-id"]);
        const request = { connection, session, stream, apnsId, headers, body, index: number };
        requests.push(request);
        onRequest(request);
      });
    });
  });
  server.on("connection", (socket: Socket) => void sockets.add(socket));
  // Handshakes that the client aborts.
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    endpoint: `https://127.0.0.1:${port}`,
    ca: testAuthority,
    requests,
    sessions,
    mostAtOnce,
    stop: async () => {
      for (const session of sessions) session.destroy();
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
