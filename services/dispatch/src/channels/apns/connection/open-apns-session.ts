// apns-slot -> here: an HTTP/2 session with Apple, or with whoever stands in: look-up, TCP, proxy, TLS, SETTINGS.
// Guarantees: one that comes back speaks HTTP/2, over TLS, with a peer that is trusted; within the deadline, or an error
// that says how far it came; nothing is left open.
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
  /** https://api.push.apple.com, with :2197 where 443 is closed. */
  readonly endpoint: string;
  /** PEM; instead of the system's authorities. */
  readonly ca?: string | Buffer;
  readonly certificate?: ClientCertificate;
  /** http(s)://user:password@host:port */
  readonly proxyUrl?: string;
  readonly lookUp?: LookUp;
  /** For all of it, ms. */
  readonly connectTimeoutMs: number;
}

export interface ApnsSession {
  readonly session: ClientHttp2Session;
  /** What it runs on: a session that was destroyed still waits for the peer's end of it. */
  readonly socket: Duplex;
}

/** What may wait inside a session for all its streams, MB; Node's own 10 are few for a thousand of them. */
const SESSION_MEMORY_MB = 64;

/** @throws Error with what failed: look-up, connection, proxy, certificate, protocol */
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
    // The first SETTINGS of the peer: proof that it speaks HTTP/2, and how many streams it allows.
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
    // So that a second address has its chance, too.
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
    // RFC 6066 3: no address in SNI.
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
