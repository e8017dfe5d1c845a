// apns-slot -> here: an HTTP/2 session with Apple, or with a stand-in: look-up, TCP, proxy, TLS, SETTINGS.
// Guarantees: a returned session speaks HTTP/2 over TLS with a trusted peer. It is ready within the deadline, or an
// error says how far it got; then nothing is left open.
import { once } from "node:events";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { describeError } from "@petrel/shared/kernel/errors";
import { bareHost, connectTcp, type LookUp } from "./connect-tcp.js";
import { connectTunnel } from "./connect-tunnel.js";

/** A provider certificate with its key: PKCS #12 (.p12), or PEM. */
export type ClientCertificate =
  | { readonly pfx: Buffer; readonly passphrase?: string }
  | { readonly cert: string | Buffer; readonly key: string | Buffer; readonly passphrase?: string };

export interface ApnsEndpoint {
  /** https://api.push.apple.com, with :2197 if port 443 is blocked. */
  readonly endpoint: string;
  /** PEM; replaces the system's authorities. */
  readonly ca?: string | Buffer;
  readonly certificate?: ClientCertificate;
  /** http(s)://user:password@host:port */
  readonly proxyUrl?: string;
  readonly lookUp?: LookUp;
  /** For the whole set-up, ms. */
  readonly connectTimeoutMs: number;
}

export interface ApnsSession {
  readonly session: ClientHttp2Session;
  /** The underlying socket, because a destroyed session still waits for the peer to end it. */
  readonly socket: Duplex;
}

/** Memory for all streams of a session, MB; Node's default of 10 is too little for a thousand of them. */
const SESSION_MEMORY_MB = 64;

/** @throws Error naming the step that failed: look-up, connection, proxy, certificate, protocol */
export async function openApnsSession(options: ApnsEndpoint, signal: AbortSignal): Promise<ApnsSession> {
  const { connectTimeoutMs } = options;
  const timeout = AbortSignal.timeout(connectTimeoutMs);
  const either = AbortSignal.any([signal, timeout]);
  let socket: Duplex | undefined;
  let session: ClientHttp2Session | undefined;
  try {
    socket = await connectOut(options, either);
    const secure = await secureSocket(socket, options, either);
    socket = secure;
    session = connectHttp2(options.endpoint, {
      createConnection: () => secure,
      settings: { enablePush: false },
      maxSessionMemory: SESSION_MEMORY_MB,
    });
    // The peer's first SETTINGS prove that it speaks HTTP/2, and say how many streams it allows.
    await once(session, "remoteSettings", { signal: either });
    return { session, socket };
  } catch (error) {
    for (const one of [session, socket]) {
      one?.on("error", () => undefined);
      one?.destroy();
    }
    if (timeout.aborted && !signal.aborted) {
      throw new Error(`no connection to ${options.endpoint} within ${connectTimeoutMs} ms`, { cause: error });
    }
    throw new Error(describeError(error), { cause: error });
  }
}

async function connectOut(options: ApnsEndpoint, signal: AbortSignal): Promise<Duplex> {
  const { hostname, port } = new URL(options.endpoint);
  const way = {
    host: hostname,
    port: Number(port) || 443,
    ...(options.lookUp === undefined ? {} : { lookUp: options.lookUp }),
    // Leaves time for a second address.
    attemptTimeoutMs: options.connectTimeoutMs / 3,
    signal,
  };
  if (options.proxyUrl === undefined) return connectTcp(way);
  return connectTunnel({
    ...way,
    proxy: new URL(options.proxyUrl),
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  });
}

async function secureSocket(
  socket: Duplex,
  { endpoint, ca, certificate }: ApnsEndpoint,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const host = bareHost(new URL(endpoint).hostname);
  const secure = connectTls({
    socket,
    host,
    // RFC 6066 3: SNI must not hold an address.
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ALPNProtocols: ["h2"],
    minVersion: "TLSv1.2",
    ...(ca === undefined ? {} : { ca }),
    ...certificate,
  });
  try {
    await once(secure, "secureConnect", { signal });
  } catch (error) {
    secure.on("error", () => undefined);
    secure.destroy();
    throw new Error(`TLS with ${host}: ${describeError(error)}`, { cause: error });
  }
  if (secure.alpnProtocol !== "h2") {
    secure.destroy();
    throw new Error(`${host} does not speak HTTP/2`);
  }
  return secure;
}
