// open-apns-session -> here: a tunnel through an HTTP proxy (CONNECT, RFC 9110 9.3.6).
// Guarantees: returns a socket only if the proxy answered 2xx. Any other answer is an error that quotes it and never
// includes the password.
import { request } from "node:http";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { isIP } from "node:net";
import { bareHost, connectTcp, type LookUp } from "./connect-tcp.js";

export interface TunnelOptions {
  /** http: or https:, with user and password (percent-encoded) if it requires them. */
  readonly proxy: URL;
  /** The host that the proxy should connect to; the proxy resolves the name. */
  readonly host: string;
  readonly port: number;
  readonly lookUp?: LookUp;
  /** For a proxy over TLS; defaults to the system's authorities. */
  readonly ca?: string | Buffer;
  readonly attemptTimeoutMs: number;
  /** Ends the wait for an answer. */
  readonly signal: AbortSignal;
}

/** @throws Error naming the proxy and its answer */
export async function connectTunnel(options: TunnelOptions): Promise<Duplex> {
  const { proxy, host, port, lookUp, attemptTimeoutMs, signal } = options;
  const isTls = proxy.protocol === "https:";
  const proxyPort = Number(proxy.port) || (isTls ? 443 : 80);
  const name = `proxy ${proxy.hostname}:${proxyPort}`;
  const tcp = await connectTcp({
    host: proxy.hostname,
    port: proxyPort,
    ...(lookUp === undefined ? {} : { lookUp }),
    attemptTimeoutMs,
    signal,
  }).catch((error: unknown) => {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  });
  const socket: Duplex = isTls
    ? connectTls({
        socket: tcp,
        host: bareHost(proxy.hostname),
        ...(isIP(bareHost(proxy.hostname)) === 0 ? { servername: proxy.hostname } : {}),
        ...(options.ca === undefined ? {} : { ca: options.ca }),
      })
    : tcp;
  try {
    return await askForTunnel(socket, name, `${host}:${port}`, credentialsOf(proxy), signal);
  } catch (error) {
    socket.on("error", () => undefined);
    socket.destroy();
    throw error;
  }
}

function askForTunnel(
  socket: Duplex,
  name: string,
  target: string,
  credentials: string | undefined,
  signal: AbortSignal,
): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const asking = request({
      method: "CONNECT",
      path: target,
      createConnection: () => socket,
      setHost: false,
      headers: {
        host: target,
        ...(credentials === undefined ? {} : { "proxy-authorization": `Basic ${credentials}` }),
      },
      signal,
    });
    asking.once("error", (error) => reject(new Error(`${name}: ${error.message}`, { cause: error })));
    asking.once("connect", (response, _socket, head) => {
      const { statusCode = 0, statusMessage = "" } = response;
      if (statusCode < 200 || statusCode > 299) {
        return reject(new Error(`${name} answered ${statusCode} ${hintFor(statusCode, statusMessage)}`));
      }
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    asking.end();
  });
}

function hintFor(status: number, message: string): string {
  switch (status) {
    case 407:
      return "(it asks for a user and a password, or refuses those of APNS_PROXY_URL)";
    case 403:
    case 405:
      return "(it does not allow CONNECT to this host and port)";
    default:
      return `(${message.replace(/[^\x20-\x7e]/g, "").slice(0, 100)})`;
  }
}

/** RFC 7617 2: base64 of user:password. */
function credentialsOf({ username, password }: URL): string | undefined {
  if (username === "" && password === "") return undefined;
  return Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
}
