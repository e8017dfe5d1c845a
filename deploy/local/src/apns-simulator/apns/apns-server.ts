// The APNs simulator: the TLS port in place of api.push.apple.com and api.sandbox.push.apple.com.
// Guarantees: HTTP/2 by ALPN and nothing else. Every connection is known until it has ended, and can be told to leave
// or be swallowed.
import { once } from "node:events";
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from "node:http2";
import { createServer, type Server } from "node:net";
import type { TLSSocket } from "node:tls";
import { ApnsConnection, type ConnectionContext } from "./apns-connection.js";
import type { BlackholeOrder, ConnectionTarget, GoawayOrder } from "../state/behaviour.js";
import type { ConnectionCredential } from "./validate-request.js";

export interface ApnsServerOptions extends ConnectionContext {
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly certificateKey: string;
  /** PEM: the authority behind providers' certificates; without it no certificate is requested. */
  readonly clientAuthority: string | undefined;
}

export class ApnsServer {
  readonly #server: Http2SecureServer;
  readonly #options: ApnsServerOptions;
  readonly #connections = new Set<ApnsConnection>();
  #second: Server | undefined;

  constructor(options: ApnsServerOptions) {
    this.#options = options;
    const { certificate, certificateKey, clientAuthority } = options;
    this.#server = createSecureServer({
      cert: certificate,
      key: certificateKey,
      allowHTTP1: false,
      minVersion: "TLSv1.2",
      ...(clientAuthority === undefined
        ? {}
        : { ca: clientAuthority, requestCert: true, rejectUnauthorized: false }),
      // As at Apple: one stream until the provider has authenticated.
      settings: { maxConcurrentStreams: 1, enablePush: false },
    });
    this.#server.on("session", (session) => this.#onSession(session));
    this.#server.on("unknownProtocol", (socket: TLSSocket) => socket.destroy());
    // A handshake that fails is the client's to notice.
    this.#server.on("tlsClientError", () => undefined);
  }

  get openConnections(): number {
    return this.#connections.size;
  }

  get openStreams(): number {
    return [...this.#connections].reduce((sum, { openStreams }) => sum + openStreams, 0);
  }

  async listen(port: number, host: string): Promise<void> {
    this.#server.listen(port, host);
    await once(this.#server, "listening");
    if (host !== "127.0.0.1") return;
    // Some resolvers return ::1 first for `localhost`. A machine without IPv6 does without it.
    const second = createServer((socket) => this.#server.emit("connection", socket));
    second.listen({ port, host: "::1", ipv6Only: true });
    await once(second, "listening").then(
      () => (this.#second = second),
      () => undefined,
    );
  }

  async close(): Promise<void> {
    this.#second?.close();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }

  /** Call it after the behaviour's `maxConcurrentStreams` has changed. */
  allowStreams(): void {
    for (const connection of this.#connections) connection.allowStreams();
  }

  /** @returns how many connections were told */
  goAway(order: GoawayOrder): number {
    const targets = this.#pick(order);
    for (const connection of targets) connection.goAway(order);
    return targets.length;
  }

  /** @returns how many connections were swallowed */
  swallow(order: BlackholeOrder): number {
    const targets = this.#pick(order);
    for (const connection of targets) connection.swallow(order);
    return targets.length;
  }

  #pick({ connections }: ConnectionTarget): ApnsConnection[] {
    return [...this.#connections]
      .filter(({ isSwallowed }) => !isSwallowed)
      .toSorted((a, b) => b.openStreams - a.openStreams)
      .slice(0, connections);
  }

  #onSession(session: ServerHttp2Session): void {
    const connection = new ApnsConnection(session, this.#readCertificate(session), this.#options);
    this.#connections.add(connection);
    session.once("close", () => this.#connections.delete(connection));
    const { swallowsNew } = this.#options.behaviour;
    if (swallowsNew !== undefined) connection.swallow(swallowsNew);
  }

  #readCertificate({ socket }: ServerHttp2Session): ConnectionCredential["certificate"] {
    if (this.#options.clientAuthority === undefined) return "none";
    // The server has no other sockets.
    const tlsSocket = socket as TLSSocket;
    const { subject } = tlsSocket.getPeerCertificate();
    if (subject === undefined) return "none";
    // Apple's certificates name the app in the subject's UID (0.9.2342.19200300.100.1.1).
    const { UID: topic } = subject as { readonly UID?: unknown };
    return tlsSocket.authorized && typeof topic === "string" ? { topic } : "unknown";
  }
}
