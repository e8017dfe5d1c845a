// A socket whose bytes never became a request for the framework -> here -> still an answer.
// Guarantees: the answer has the contract's error shape, and the client can read it before the connection closes. Bytes
// that follow an accepted request never get an answer in its place.
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { type BodiesUnderWay, lateBody } from "./bodies-under-way.js";
import { PetrelError } from "../errors.js";
import type { LingeringSockets } from "./lingering-sockets.js";
import { REQUEST_ID } from "./requests/request-ids.js";
import type { RequestWatch } from "./requests/watch-requests.js";

/** The response being written or awaited on a socket; Node keeps it under a private name. */
export function responseUnderWay(socket: Socket): ServerResponse | undefined {
  const { _httpMessage } = socket as { readonly _httpMessage?: ServerResponse | null };
  return _httpMessage ?? undefined;
}

const UNDER_WAY = Symbol("a request is under way that Node does not know");

interface Marked extends Socket {
  [UNDER_WAY]?: boolean;
}

/** For requests that are taken before Node parses them (plain-requests): they have no response of Node's. */
export function markDirectAnswer(socket: Socket, isUnderWay: boolean): void {
  const marked: Marked = socket;
  marked[UNDER_WAY] = isUnderWay;
}

export function awaitsDirectAnswer(socket: Socket): boolean {
  return (socket as Marked)[UNDER_WAY] === true;
}

export interface BelowFramework {
  readonly lingering: LingeringSockets;
  readonly bodies: BodiesUnderWay;
  readonly watch: Pick<RequestWatch, "answeredBelow">;
}

/** Answers bytes that cannot be parsed as HTTP, or that took too long. */
export function answerClientError(
  error: NodeJS.ErrnoException,
  socket: Socket,
  { lingering, bodies, watch }: BelowFramework,
): void {
  if (lingering.has(socket)) return;
  const isLate = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const response = responseUnderWay(socket);
  if (response !== undefined && socket.writable) {
    // The request's own body is malformed. The framework is still waiting for that body and will answer the error
    // itself.
    const isItsOwn = !response.req.complete && error.code !== "ECONNRESET";
    if (isItsOwn && bodies.refuse(response.req, isLate ? lateBody() : brokenBody())) return;
  }
  // A response is in progress: anything written now would be read as part of it, or as the answer to an accepted
  // request.
  if (!socket.writable || response !== undefined || awaitsDirectAnswer(socket)) {
    socket.destroy();
    return;
  }
  const message = isLate
    ? "The request did not arrive in time."
    : error.code === "HPE_HEADER_OVERFLOW"
      ? "The request's headers are too large."
      : "Not a valid HTTP request.";
  const refusal = new PetrelError("PETREL_INVALID_REQUEST", message);
  endWithError(socket, refusal, lingering, watch.answeredBelow(refusal.status));
}

/** Answers on a socket that has no request, then ends it. */
export function endWithError(
  socket: Socket,
  error: PetrelError,
  lingering: LingeringSockets,
  requestId: string,
): void {
  const body = JSON.stringify(error.toBody());
  socket.write(
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ""}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n${REQUEST_ID}: ${requestId}\r\nConnection: close\r\n\r\n${body}`,
  );
  lingering.add(socket);
}

/** Replaces the answers that Node sends by itself, with or without a body. */
export function answerForNode(
  server: Server,
  { lingering, watch }: Pick<BelowFramework, "lingering" | "watch">,
): void {
  server.on("connect", ({ method }: IncomingMessage, socket: Socket) => {
    const refusal = new PetrelError("PETREL_NOT_FOUND", "CONNECT is not supported.");
    endWithError(socket, refusal, lingering, watch.answeredBelow(refusal.status, method));
  });
  // `checkHead` refuses it in a framework hook, like a request without a Host.
  server.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) => {
    server.emit("request", request, response);
  });
  // A request that its head already rules out should not send its body. Code that wants the body calls
  // `continueIfAsked`.
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    server.emit("request", request, response);
  });
}

function brokenBody(): PetrelError {
  return new PetrelError("PETREL_INVALID_REQUEST", "The framing of the body violates HTTP.");
}
