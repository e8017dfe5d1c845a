// A socket whose bytes never became a request of the framework's -> here -> an answer all the same.
// Guarantees: it has the contract's error shape; it is read before the connection closes; bytes that come after a request
// that was taken are never answered in its place.
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { type BodiesUnderWay, lateBody } from "./bodies-under-way.js";
import { PetrelError } from "../errors.js";
import type { LingeringSockets } from "./lingering-sockets.js";

/** The answer that is being written, or waited for, on a socket; Node keeps it under a name of its own. */
export function responseUnderWay(socket: Socket): ServerResponse | undefined {
  const { _httpMessage } = socket as { readonly _httpMessage?: ServerResponse | null };
  return _httpMessage ?? undefined;
}

export interface BelowFramework {
  readonly lingering: LingeringSockets;
  readonly bodies: BodiesUnderWay;
}

/** Answers what cannot be parsed as HTTP, or took too long. */
export function answerClientError(
  error: NodeJS.ErrnoException,
  socket: Socket,
  { lingering, bodies }: BelowFramework,
): void {
  if (lingering.has(socket)) return;
  const isLate = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const response = responseUnderWay(socket);
  if (response !== undefined && socket.writable) {
    // Its body is what is wrong, so nothing was done yet for it: the framework waits for it, and answers.
    const isItsOwn = !response.req.complete && error.code !== "ECONNRESET";
    if (isItsOwn && bodies.refuse(response.req, isLate ? lateBody() : brokenBody())) return;
  }
  // An answer is under way: bytes between would be read as part of it, or as the answer to what was accepted.
  if (!socket.writable || response !== undefined) {
    socket.destroy();
    return;
  }
  const message = isLate
    ? "The request did not come in time."
    : error.code === "HPE_HEADER_OVERFLOW"
      ? "The request's headers are too large."
      : "Not a valid HTTP request.";
  endWithError(socket, new PetrelError("PETREL_INVALID_REQUEST", message), lingering);
}

/** Answers on a socket that has no request, and ends it. */
export function endWithError(socket: Socket, error: PetrelError, lingering: LingeringSockets): void {
  const body = JSON.stringify(error.toBody());
  socket.write(
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ""}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
  lingering.add(socket);
}

/** What Node would answer by itself, with no body or not at all. */
export function answerForNode(server: Server, { lingering }: BelowFramework): void {
  server.on("connect", (_request: IncomingMessage, socket: Socket) => {
    endWithError(socket, new PetrelError("PETREL_NOT_FOUND", "There is no CONNECT here."), lingering);
  });
  // The framework's hooks refuse it (checkHead), as they refuse a request without a Host.
  server.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) => {
    server.emit("request", request, response);
  });
  // What is refused by its head need not be sent: whoever wants the body says so, see `continueIfAsked`.
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    server.emit("request", request, response);
  });
}

function brokenBody(): PetrelError {
  return new PetrelError("PETREL_INVALID_REQUEST", "The body is not framed as HTTP asks.");
}
