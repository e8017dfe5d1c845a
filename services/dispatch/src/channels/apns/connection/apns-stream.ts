// apns-connection -> here: one request on one HTTP/2 stream.
// Guarantees: exactly one result, when the stream has closed or is given up; a request is "not-sent" only where the
// peer has said so (RFC 9113 8.7: REFUSED_STREAM, or a GOAWAY below its number) or the stream never opened.
import { constants, sensitiveHeaders, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import type { ApnsRequest, ApnsResult } from "./apns-exchange.js";
import { readApnsAnswer } from "./read-apns-answer.js";

export interface ApnsStreamDeps {
  readonly session: ClientHttp2Session;
  /** That came, if any: streams above the last one were not looked at. */
  readonly goaway: () => { readonly code: number; readonly lastStreamId: number } | undefined;
  readonly wallMs: () => number;
  /** The head of an answer has come. */
  readonly onAnswer: () => void;
  readonly onResult: (result: ApnsResult) => void;
  /** The stream has closed: after the result, or before it where the result was forced. */
  readonly onClose: () => void;
}

/** Apple's bodies are below 200 bytes. */
const BODY_CHARS = 4_096;

export class ApnsStream {
  readonly #deps: ApnsStreamDeps;
  readonly #stream: ClientHttp2Stream;
  #headers: Parameters<typeof readApnsAnswer>[0] | undefined;
  #body = "";
  #fault = "";
  #isSettled = false;

  /**
   * Sends it, now.
   * @throws where the session takes no more streams: nothing was sent
   */
  constructor(deps: ApnsStreamDeps, request: ApnsRequest, authorization: string | undefined) {
    this.#deps = deps;
    const { headers, body, path } = request;
    const stream = deps.session.request({
      ...headers,
      ":method": "POST",
      ":path": path,
      ...(authorization === undefined ? {} : { authorization }),
      // They differ with each push: in the compression table they would only displace the token.
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

  /** The answer is not waited for any more; the peer is told. */
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
      // An error whose reason was cut off tells too little; 200 tells everything.
      return isWhole || answer.status === 200 || answer.reason !== undefined
        ? answer
        : { kind: "unanswered", why: "cut off in the middle of its answer" };
    }
    if (id === undefined) return { kind: "not-sent", why: this.#fault || "the connection closed" };
    const { code, lastStreamId } = goaway() ?? { code: 0, lastStreamId: Infinity };
    if (id > lastStreamId) return { kind: "not-sent", why: "GOAWAY" };
    // Of this stream alone, not what the whole session ended with.
    const isRefused = rstCode === constants.NGHTTP2_REFUSED_STREAM && rstCode !== code;
    if (isRefused && !session.destroyed) return { kind: "not-sent", why: "REFUSED_STREAM" };
    return { kind: "unanswered", why: this.#fault || `the connection closed (${rstCode})` };
  }
}
