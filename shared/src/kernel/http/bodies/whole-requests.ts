// A server's request -> here -> kernel/http/http-app: requests that come in one piece, to whoever takes them before the
// framework.
// Guarantees: what is not taken reaches the framework as if nobody had looked: a body that is still to come, a request
// during a stop, one that the taker leaves. Answers are written by Node, which keeps their order on a connection.
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
   * Of a request with a `Content-Length`.
   * @returns undefined where the framework shall have it; else what its head says
   */
  readonly wants: (request: IncomingMessage) => Wanted | undefined;
  /** @returns whether it is taken; if not, nothing has been done for it */
  readonly take: (whole: WholeRequest<Wanted>) => boolean;
}

/** How it serves a request; the very function that listens to the server. */
interface Framework {
  readonly routing: (request: IncomingMessage, response: ServerResponse) => void;
}

const JSON_TYPE = "application/json; charset=utf-8";

/**
 * Mostly a body arrives with its head, in one read. Then neither the stream that Node makes of it nor the framework's
 * request, reply and hooks are needed, which cost more than all the rest of a small request. For that the request's
 * `push`, by which Node's parser hands over the body's pieces, is caught until the read is over.
 */
export function takeWholeRequests<Wanted>(app: HttpApp, { wants, take }: RequestTaker<Wanted>): void {
  const { server } = app;
  const framework: Framework = app;
  const { routing } = framework;
  let isStopping = false;
  app.addHook("preClose", (done) => {
    isStopping = true;
    done();
  });
  server.off("request", routing);
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const isPossible = !isStopping && request.headers["content-length"] !== undefined;
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
    // Runs when the parser has handed over what there is of the body; where that is all, it says so next.
    process.nextTick(() => {
      if (isOpen && missing !== 0) leave(false);
    });
  });
}

/** Nobody will read it: Node need not, after the answer, to get at the connection's next request. */
function endUnread(request: IncomingMessage): void {
  Object.assign(request, { _consumed: true });
}

export interface JsonAnswer {
  readonly status: number;
  /** The text of the body. */
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
