// A server's connections -> here -> collect/routes/express-lane, kernel/http/http-app: offers plain requests that come in
// one read to a taker, before Node parses them.
// Guarantees: takes only a read that is exactly one whole, plain request (read-plain-head), on a connection where Node
// has nothing to do and stands at the start of a request. Every other byte goes to Node's own reader of the connection;
// once it is not certain where a request ends, all that follows does. While an answer is awaited nothing more is read, so
// answers keep their order. The first request of a connection is always Node's: so its timeout between requests is armed,
// and the bounds on new sockets know of it.
// Why: Node's parser, request, response and header code took a fifth of collect's time for a message of its own.
import { type IncomingMessage, type Server, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import { awaitsDirectAnswer, markDirectAnswer, responseUnderWay } from "../answer-below-framework.js";
import { JSON_TYPE, type JsonAnswer } from "../bodies/whole-requests.js";
import { REQUEST_ID } from "../requests/request-ids.js";
import { HttpDates } from "./http-dates.js";
import { type PlainHead, readPlainHead } from "./read-plain-head.js";

/** What a taker sees of a request, whoever has read it. */
export type RequestHead = Pick<IncomingMessage, "method" | "url" | "headers" | "socket">;

/** Where a request is answered, once. */
export interface DirectAnswer {
  /** Before `end`. */
  readonly header: (name: string, value: string) => void;
  readonly end: (answer: JsonAnswer) => void;
}

export interface PlainTaker<Wanted> {
  /** @returns undefined leaves the request to Node */
  readonly wants: (request: RequestHead) => Wanted | undefined;
  /** @returns whether it takes the request; if not, it must not have done anything for it */
  readonly take: (request: RequestHead, body: Buffer, wanted: Wanted, answer: DirectAnswer) => boolean;
}

/** More than the head of a plain request of any client has, less than any bound on heads. */
const MAX_HEAD_BYTES = 4 * 1024;
const HEAD_END = "\r\n\r\n";

type OnData = (chunk: Buffer) => void;

/** Call it before the server listens. */
export function takePlainRequests<Wanted>(server: Server, taker: PlainTaker<Wanted>): void {
  const dates = new HttpDates();
  const keepAliveS = Math.floor(server.keepAliveTimeout / 1_000);
  const keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveS}\r\n\r\n`;
  server.on(server instanceof TlsServer ? "secureConnection" : "connection", (socket: Socket) => {
    // Node's own, which it has just added: the connection's parser.
    const [toNode, ...others] = socket.listeners("data");
    if (toNode === undefined || others.length > 0) return;
    const context = { server, taker, dates, keepAlive };
    const { onData } = new PlainConnection(socket, toNode as OnData, context);
    // Until somebody listens, the parser reads past the socket's stream.
    socket.on("data", onData);
    socket.off("data", toNode as OnData);
  });
}

interface Context<Wanted> {
  /** Does not listen during a stop. */
  readonly server: Pick<Server, "listening">;
  readonly taker: PlainTaker<Wanted>;
  readonly dates: HttpDates;
  /** The end of an answer's head. */
  readonly keepAlive: string;
}

class PlainConnection<Wanted> implements DirectAnswer {
  readonly #socket: Socket;
  readonly #toNode: OnData;
  readonly #context: Context<Wanted>;
  /** The last head: most clients send the same one again. */
  #text = "";
  #head: PlainHead | undefined;
  #request: RequestHead | undefined;
  #isFirst = true;
  /** Bytes of a body that are still to come, to Node. */
  #missing = 0;
  /** Whether bytes wait for the answer that is under way. */
  #isHolding = false;
  /** Of the answer that is under way. */
  #headers = "";

  constructor(socket: Socket, toNode: OnData, context: Context<Wanted>) {
    this.#socket = socket;
    this.#toNode = toNode;
    this.#context = context;
  }

  readonly onData = (chunk: Buffer): void => {
    const socket = this.#socket;
    if (awaitsDirectAnswer(socket)) {
      this.#isHolding = true;
      socket.pause();
      socket.unshift(chunk);
      return;
    }
    const isRest = this.#missing > 0;
    const bodyAt = isRest ? 0 : this.#readHead(chunk);
    if (!isRest) this.#missing = bodyAt === 0 || !this.#head ? -1 : bodyAt + this.#head.contentLength;
    this.#missing -= chunk.length;
    if (this.#missing < 0) {
      socket.off("data", this.onData);
      socket.on("data", this.#toNode);
    } else if (this.#missing === 0 && !isRest && this.#isIdle() && this.#take(chunk.subarray(bodyAt))) return;
    this.#isFirst = false;
    this.#toNode(chunk);
  };

  /** @returns where the body begins, or 0 if the head is not whole */
  #readHead(chunk: Buffer): number {
    const end = chunk.subarray(0, MAX_HEAD_BYTES).indexOf(HEAD_END, 0, "latin1");
    if (end === -1) return 0;
    const bodyAt = end + HEAD_END.length;
    const text = chunk.toString("latin1", 0, bodyAt);
    if (text === this.#text) return bodyAt;
    this.#text = text;
    this.#head = readPlainHead(text);
    this.#request = this.#head && {
      method: "POST",
      url: this.#head.url,
      headers: this.#head.headers,
      socket: this.#socket,
    };
    return bodyAt;
  }

  /** Whether an answer may be written here. Node reads no more where a client does not read its answers. */
  #isIdle(): boolean {
    const socket = this.#socket;
    return !this.#isFirst && responseUnderWay(socket) === undefined && !socket.writableNeedDrain;
  }

  #take(body: Buffer): boolean {
    const { taker } = this.#context;
    const request = this.#request;
    const wanted = request && taker.wants(request);
    if (request === undefined || wanted === undefined) return false;
    this.#headers = "";
    markDirectAnswer(this.#socket, true);
    const takes = taker.take(request, body, wanted, this);
    if (!takes) markDirectAnswer(this.#socket, false);
    return takes;
  }

  readonly header = (name: string, value: string): void => {
    this.#headers += `${name}: ${value}\r\n`;
  };

  readonly end = ({ status, json, requestId, type = JSON_TYPE }: JsonAnswer): void => {
    const socket = this.#socket;
    const { server, dates, keepAlive } = this.#context;
    const wasHolding = this.#isHolding;
    this.#isHolding = false;
    markDirectAnswer(socket, false);
    // In a later turn.
    if (wasHolding) socket.resume();
    if (!socket.writable) return;
    // What waits behind an answer that ends the connection would never be answered: then the next one ends it.
    const closes = !server.listening && !wasHolding;
    const length = Buffer.byteLength(json);
    socket.write(
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${this.#headers}Content-Type: ${type}\r\n` +
        `Content-Length: ${length}\r\n${REQUEST_ID}: ${requestId}\r\nDate: ${dates.now()}\r\n` +
        `${closes ? "Connection: close\r\n\r\n" : keepAlive}${json}`,
      length === json.length ? "latin1" : "utf8",
    );
    if (closes) socket.destroySoon();
  };
}
