// apns-connection -> here: one request on one HTTP/2 stream.
// Guarantees: exactly one result, when the stream has closed or is given up. A request is "not-sent" only if the peer
// has said so (RFC 9113 8.7: REFUSED_STREAM, or a GOAWAY below its number) or the stream never opened.
import { constants, sensitiveHeaders, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import type { ApnsRequest, ApnsResult } from "./apns-exchange.js";
import { readApnsAnswer } from "./read-apns-answer.js";

export interface ApnsStreamDeps {
  readonly session: ClientHttp2Session;
  /** The GOAWAY, if one came: the peer has ignored streams above the last one. */
  readonly goaway: () => { readonly code: number; readonly lastStreamId: number } | undefined;
  readonly wallMs: () => number;
  /** The head of an answer has arrived. */
  readonly onAnswer: () => void;
  readonly onResult: (result: ApnsResult) => void;
  /** The stream has closed: after the result, or before it if the result was forced. */
  readonly onClose: () => void;
}

/** Apple's bodies are smaller than 200 bytes. */
const BODY_CHARS = 4_096;

export class ApnsStream {
  readonly #deps: ApnsStreamDeps;
  readonly #stream: ClientHttp2Stream;
  #headers: Parameters<typeof readApnsAnswer>[0] | undefined;
  #body = "";
  #fault = "";
  #isSettled = false;

  /**
   * Sends the request at once.
   * @throws if the session accepts no more streams; then nothing was sent
   */
  constructor(deps: ApnsStreamDeps, request: ApnsRequest, authorization: string | undefined) {
    this.#deps = deps;
    const { headers, body, path } = request;
    const stream = deps.session.request({
      ...headers,
      ":method": "POST",
      ":path": path,
      ...(authorization === undefined ? {} : { authorization }),
      // These differ for each push and would only displace the token from the compression table.
      [sensitiveHeaders]: ["apns-id", "apns-expiration", "apns-collapse-id"],
    });
    this.#stream = stream;
    stream.setEncoding("utf8");
    stream.on("response", (answer) => {
      this.#headers = answer;
      deps.onAnswer();
    });
    stream.on("data", (chunk: string) => {
      if (this.#body.length < BODY_CHARS) this.#body += chunk;
    });
    stream.on("error", (error) => (this.#fault = error.message));
    stream.on("close", () => {
      this.#settle(this.#judge());
      deps.onClose();
    });
    stream.end(body);
  }

  /** Stops waiting for the answer and tells the peer. */
  giveUp(why: string): void {
    this.#settle({ kind: "unanswered", why });
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  #settle(result: ApnsResult): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#deps.onResult(result);
  }

  #judge(): ApnsResult {
    const { rstCode, id, readableEnded } = this.#stream;
    const { session, goaway, wallMs } = this.#deps;
    if (this.#headers !== undefined) {
      const answer = readApnsAnswer(this.#headers, this.#body, wallMs());
      const isWhole = readableEnded && rstCode === constants.NGHTTP2_NO_ERROR;
      // An error answer without its reason says too little; a 200 needs no body.
      return isWhole || answer.status === 200 || answer.reason !== undefined
        ? answer
        : { kind: "unanswered", why: "cut off in the middle of its answer" };
    }
    if (id === undefined) return { kind: "not-sent", why: this.#fault || "the connection closed" };
    const { code, lastStreamId } = goaway() ?? { code: 0, lastStreamId: Infinity };
    if (id > lastStreamId) return { kind: "not-sent", why: "GOAWAY" };
    // Refused for this stream alone, not by the code that ended the whole session.
    const isRefused = rstCode === constants.NGHTTP2_REFUSED_STREAM && rstCode !== code;
    if (isRefused && !session.destroyed) return { kind: "not-sent", why: "REFUSED_STREAM" };
    return { kind: "unanswered", why: this.#fault || `the connection closed (${rstCode})` };
  }
}
