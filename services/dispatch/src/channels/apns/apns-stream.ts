// apns-connection -> here: one request on one HTTP/2 stream.
// Guarantees: exactly one result, when the stream has closed or is given up; a request is "not-sent" only where the
// peer has said so (RFC 9113 8.7: REFUSED_STREAM, or a GOAWAY below its number) or the stream never opened.
import { constants, sensitiveHeaders, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import type { ApnsRequest, ApnsResult } from "./apns-exchange.js";
import { readApnsAnswer } from "./read-apns-answer.js";

export interface ApnsStreamDeps {
  readonly session: ClientHttp2Session;
  /** Of the GOAWAY that came, or undefined: streams above were not looked at. */
  readonly lastStreamId: () => number | undefined;
  readonly wallMs: () => number;
  /** The head of an answer has come. */
  readonly onAnswer: () => void;
  readonly onResult: (result: ApnsResult) => void;
  /** The stream is gone, and its place is free: after the result, or before it where the result was forced. */
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
      // They differ with each push: in the table of the header compression they would only drive out the token.
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
    const answer = this.#headers;
    // An error whose reason was cut off tells too little; 200 tells everything.
    if (answer !== undefined && (readableEnded || answer[":status"] === 200)) {
      return readApnsAnswer(answer, this.#body, this.#deps.wallMs());
    }
    if (id === undefined) return { kind: "not-sent", why: this.#fault || "the connection closed" };
    const lastStreamId = this.#deps.lastStreamId();
    if (lastStreamId !== undefined && id > lastStreamId) return { kind: "not-sent", why: "GOAWAY" };
    if (answer === undefined && rstCode === constants.NGHTTP2_REFUSED_STREAM && lastStreamId === undefined) {
      return { kind: "not-sent", why: "REFUSED_STREAM" };
    }
    if (answer !== undefined) return { kind: "unanswered", why: "cut off in the middle of its answer" };
    return { kind: "unanswered", why: this.#fault || `the connection closed (${rstCode})` };
  }
}
