// A push node played by a test: a real WebSocket server; the test sends and reads every frame itself.
// Guarantees: every wait has a deadline; `close` leaves no socket and no port behind.
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";

const WITHIN_MS = 30_000;

export type PeerFrame = Readonly<Record<string, unknown>>;

/** Values in order of arrival, awaited one by one. */
class Arrivals<Value> {
  readonly #values: Value[] = [];
  readonly #takers: ((value: Value) => void)[] = [];

  push(value: Value): void {
    const taker = this.#takers.shift();
    if (taker === undefined) this.#values.push(value);
    else taker(value);
  }

  async next(what: string, withinMs: number): Promise<Value> {
    const value = this.#values.shift();
    if (value !== undefined) return value;
    return new Promise((resolve, reject) => {
      const taker = (late: Value): void => {
        clearTimeout(timer);
        resolve(late);
      };
      const timer = setTimeout(() => {
        this.#takers.splice(this.#takers.indexOf(taker), 1);
        reject(new Error(`no ${what} within ${withinMs} ms`));
      }, withinMs);
      this.#takers.push(taker);
    });
  }

  get waiting(): readonly Value[] {
    return this.#values;
  }
}

/** The server's end of one connection. */
export class PeerSocket {
  readonly query: URLSearchParams;
  readonly path: string;
  /** What the client offered in Sec-WebSocket-Protocol. */
  readonly offered: readonly string[];
  /** Every frame so far, including those already taken. */
  readonly frames: PeerFrame[] = [];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  /** For a scripted peer: called for each frame, besides `next`. */
  onFrame: (frame: PeerFrame) => void = () => undefined;
  readonly #socket: WebSocket;
  readonly #arrivals = new Arrivals<PeerFrame>();

  constructor(socket: WebSocket, request: IncomingMessage) {
    const url = new URL(request.url ?? "/", "http://peer");
    this.#socket = socket;
    this.query = url.searchParams;
    this.path = url.pathname;
    this.offered = (request.headers["sec-websocket-protocol"] ?? "").split(/,\s*/);
    this.closed = new Promise((resolve) => {
      socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    socket.on("error", () => undefined);
    socket.on("message", (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as PeerFrame;
      this.frames.push(frame);
      this.#arrivals.push(frame);
      this.onFrame(frame);
    });
  }

  /** Frames that came and were not taken. */
  get untaken(): readonly PeerFrame[] {
    return this.#arrivals.waiting;
  }

  /** The next frame of this type; others before it are skipped. */
  async next(type: string, withinMs = WITHIN_MS): Promise<PeerFrame> {
    const deadline = Date.now() + withinMs;
    for (;;) {
      const frame = await this.#arrivals.next(`frame "${type}"`, Math.max(1, deadline - Date.now()));
      if (frame["type"] === type) return frame;
    }
  }

  send(frame: PeerFrame): void {
    this.#socket.send(JSON.stringify(frame));
  }

  sendRaw(data: string | Buffer): void {
    this.#socket.send(data);
  }

  welcome(fields: PeerFrame = {}): void {
    this.send({
      type: "welcome",
      connection: "c1",
      node: "n1",
      user: "alice",
      epoch: "e1",
      seq: 0,
      after: 0,
      resumed: false,
      pingSeconds: 25,
      features: [],
      ...fields,
    });
  }

  message(seq: number, fields: PeerFrame = {}): void {
    this.send({ type: "message", id: `m${seq}`, seq, at: "2030-01-01T00:00:00.000Z", data: seq, ...fields });
  }

  close(code: number, reason = ""): void {
    this.#socket.close(code, reason);
  }

  /** Ends the connection without a close frame. */
  cut(): void {
    this.#socket.terminate();
  }

  /** Stops reading, like a peer behind a dead network. */
  freeze(): void {
    this.#socket.pause();
  }
}

export class WsPeer {
  readonly url: string;
  /** Connections so far. */
  accepted = 0;
  /** For a scripted peer: called for each connection, besides `accept`. */
  onAccept: (socket: PeerSocket) => void = () => undefined;
  readonly #close: () => Promise<void>;
  readonly #arrivals: Arrivals<PeerSocket>;

  private constructor(url: string, arrivals: Arrivals<PeerSocket>, close: () => Promise<void>) {
    this.url = url;
    this.#arrivals = arrivals;
    this.#close = close;
  }

  /** @param port 0 for a free one */
  static async start(port = 0): Promise<WsPeer> {
    const http = createServer();
    const server = new WebSocketServer({
      server: http,
      handleProtocols: (offered) => (offered.has("petrel.v1") ? "petrel.v1" : false),
    });
    http.listen(port, "127.0.0.1");
    await once(http, "listening");
    const address = http.address() as AddressInfo;
    const arrivals = new Arrivals<PeerSocket>();
    const peer = new WsPeer(`ws://127.0.0.1:${address.port}/v1/connect`, arrivals, async () => {
      for (const socket of server.clients) socket.terminate();
      server.close();
      http.close();
      await once(http, "close");
    });
    server.on("connection", (socket, request) => {
      peer.accepted++;
      const peerSocket = new PeerSocket(socket, request);
      arrivals.push(peerSocket);
      peer.onAccept(peerSocket);
    });
    return peer;
  }

  /** The next connection that a client opens. */
  async accept(withinMs = WITHIN_MS): Promise<PeerSocket> {
    return this.#arrivals.next("connection", withinMs);
  }

  async close(): Promise<void> {
    await this.#close();
  }
}
