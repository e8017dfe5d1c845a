// A server's request -> here -> kernel/http/http-app: offers requests that arrive in one piece to a taker, ahead of the
// framework.
// Guarantees: everything else reaches the framework untouched: a body that is still to come, a request during a stop,
// one that the taker leaves. Answers are written by Node, which keeps their order on a connection.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { HttpApp } from "../http-app.js";
import { REQUEST_ID } from "../requests/request-ids.js";

/** A request whose head and body came together. */
export interface WholeRequest<Wanted> {
  readonly request: IncomingMessage;
  readonly body: Buffer;
  readonly response: ServerResponse;
  /** What `wants` found in the head. */
  readonly wanted: Wanted;
}

export interface RequestTaker<Wanted> {
  /**
   * Called for a request with a `Content-Length`.
   * @returns what its head says; undefined leaves the request to the framework
   */
  readonly wants: (request: IncomingMessage) => Wanted | undefined;
  /** @returns whether it takes the request; if not, it must not have done anything for it */
  readonly take: (whole: WholeRequest<Wanted>) => boolean;
}

/** The framework's handler of requests: the very function that listens to the server. */
interface Framework {
  readonly routing: (request: IncomingMessage, response: ServerResponse) => void;
}

export const JSON_TYPE = "application/json; charset=utf-8";

/**
 * Usually a body arrives with its head, in one read. Such a request needs neither Node's body stream nor the
 * framework's request, reply and hooks, which cost more than all the rest of a small request. So until the read is
 * over, this intercepts the request's `push`, through which Node's parser hands over the pieces of the body.
 */
export function takeWholeRequests<Wanted>(app: HttpApp, { wants, take }: RequestTaker<Wanted>): void {
  const { server } = app;
  const framework: Framework = app;
  const { routing } = framework;
  server.off("request", routing);
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    // During a stop the framework answers: it tells the client to leave. A hook would run only when the stop is over.
    const isPossible = server.listening && request.headers["content-length"] !== undefined;
    const wanted = isPossible ? wants(request) : undefined;
    if (wanted === undefined) {
      routing(request, response);
      return;
    }
    const pieces: Buffer[] = [];
    let missing = Number(request.headers["content-length"]);
    let isOpen = true;
    const leave = (isWhole: boolean): void => {
      isOpen = false;
      Reflect.deleteProperty(request, "push");
      for (const piece of pieces) request.push(piece);
      if (isWhole) request.push(null);
      routing(request, response);
    };
    request.push = (piece: Buffer | null): boolean => {
      if (piece !== null) {
        pieces.push(piece);
        missing -= piece.length;
        return true;
      }
      const [first] = pieces;
      const body = first !== undefined && pieces.length === 1 ? first : Buffer.concat(pieces);
      isOpen = false;
      if (take({ request, body, response, wanted })) endUnread(request);
      else leave(true);
      return true;
    };
    // Runs once the parser has handed over this read. If the body is complete, the final `push(null)` is still to come.
    process.nextTick(() => {
      if (isOpen && missing !== 0) leave(false);
    });
  });
}

/** Marks a body that nobody will read, so that Node does not drain it before the connection's next request. */
function endUnread(request: IncomingMessage): void {
  Object.assign(request, { _consumed: true });
}

export interface JsonAnswer {
  readonly status: number;
  /** The body, as JSON text. */
  readonly json: string;
  readonly requestId: string;
  readonly type?: string;
}

export function answerJson(
  response: ServerResponse,
  { status, json, requestId, type = JSON_TYPE }: JsonAnswer,
): void {
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(json),
    [REQUEST_ID]: requestId,
  });
  response.end(json);
}
