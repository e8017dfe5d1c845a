// apns-slot -> here -> apns-stream: one HTTP/2 session with Apple: its limits, its PINGs, its end.
// Guarantees: the first request is alone until one was answered by anything but 403; then never more streams than the
// peer's SETTINGS allow, however it changes them. A silent peer is found out within pingTimeoutMs and the session
// destroyed, so that every request on it gets its result. After a GOAWAY nothing new is sent. A peer that refuses streams
// is tried with one at a time, with growing pauses, and is left if that does not help.
import type { ClientHttp2Session } from "node:http2";
import { backoffMs } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import type { ApnsRequest, ApnsResult } from "./apns-exchange.js";
import { ApnsStream } from "./apns-stream.js";
import type { ApnsSession } from "./open-apns-session.js";
import { readGoawayReason } from "./read-apns-answer.js";

export interface ApnsConnectionLimits {
  /** From when the request is handed to its stream to the end of its answer, ms. */
  readonly requestTimeoutMs: number;
  /** A connection on which nothing came for so long is asked with a PING, ms. */
  readonly pingIdleMs: number;
  /** How long the answer to a PING may take, ms. */
  readonly pingTimeoutMs: number;
  /** Streams at once, whatever more the peer would allow. */
  readonly maxStreams: number;
}

export interface ApnsConnectionOptions extends ApnsConnectionLimits {
  readonly clock: Clock;
  /** There may be room for another request. */
  readonly onRoom: () => void;
  /** It takes no new requests any more, ever; those on it go on. Called once. */
  readonly onRetired: (why: string) => void;
  /** It is gone, and with it all its streams. Called once, after onRetired. */
  readonly onClosed: () => void;
}

export interface SentRequest {
  /** Stops waiting: the result is "unanswered", at once. */
  giveUp(why: string): void;
}

/** A session that was asked to close and has nothing left to do needs no longer, ms. */
const CLOSE_MS = 500;
/** The pause after a refused stream, ms: at least the first, with full jitter on top. */
const REFUSED_MIN_MS = 5;
const REFUSED_BASE_MS = 10;
const REFUSED_CAP_MS = 1_000;
/** After so many pauses without an answer another connection may do better. */
const MAX_REFUSALS = 8;

export class ApnsConnection {
  readonly #session: ClientHttp2Session;
  readonly #socket: ApnsSession["socket"];
  readonly #options: ApnsConnectionOptions;
  readonly #idle: NodeJS.Timeout;
  #streams = 0;
  #isProven = false;
  #isRetired = false;
  #isClosed = false;
  /** A request was not answered in time, and neither is the PING yet. */
  #isSuspect = false;
  #isPinging = false;
  #goaway: { readonly code: number; readonly lastStreamId: number } | undefined;
  #answeredAtMs: number;
  #answersAtLastTick = 0;
  #answers = 0;
  #overdue: NodeJS.Timeout | undefined;
  /** In a row, without an answer between them; those that come during a pause are the same one. */
  #refusals = 0;
  #refused: NodeJS.Timeout | undefined;

  /** @param session open, its first SETTINGS received */
  constructor({ session, socket }: ApnsSession, options: ApnsConnectionOptions) {
    this.#session = session;
    this.#socket = socket;
    this.#options = options;
    this.#answeredAtMs = options.clock.monotonicMs();
    session.on("remoteSettings", () => options.onRoom());
    // With a reason to tell, where there is one, by GOAWAY or the streams themselves.
    session.on("error", (error: Error) => this.retire(error.message));
    session.on("goaway", (code, lastStreamId, data) => this.#onGoaway(code, lastStreamId, data));
    session.on("close", () => this.#onClose());
    this.#idle = setInterval(() => this.#onIdleTick(), options.pingIdleMs);
  }

  /** Whether a request was answered by anything but 403. */
  get isProven(): boolean {
    return this.#isProven;
  }

  get inFlight(): number {
    return this.#streams;
  }

  /** How many requests may be sent now. */
  get room(): number {
    if (this.#isRetired || this.#isSuspect || this.#refused !== undefined) return 0;
    if (this.#session.closed || this.#session.destroyed) return 0;
    const { maxConcurrentStreams = Infinity } = this.#session.remoteSettings;
    const isOpenToAll = this.#isProven && this.#refusals === 0;
    const limit = Math.min(maxConcurrentStreams, this.#options.maxStreams, isOpenToAll ? Infinity : 1);
    return Math.max(0, limit - this.#streams);
  }

  /**
   * Only where there is room. The result comes later, never before this returns.
   * @param authorization `bearer <token>`, or undefined where a certificate speaks for us
   */
  send(
    request: ApnsRequest,
    authorization: string | undefined,
    onResult: (result: ApnsResult) => void,
  ): SentRequest {
    const { clock, requestTimeoutMs, onRoom } = this.#options;
    const sentAtMs = clock.monotonicMs();
    let timer: NodeJS.Timeout | undefined;
    let stream: ApnsStream;
    try {
      stream = new ApnsStream(
        {
          session: this.#session,
          goaway: () => this.#goaway,
          wallMs: () => clock.wallMs(),
          onAnswer: () => this.#onAnswer(),
          onResult: (result) => {
            clearTimeout(timer);
            if (result.kind === "answered" && result.status !== 403) this.#isProven = true;
            // First: whoever gets the result may send it again at once.
            if (result.kind === "answered") this.#endRefusals();
            else if (result.kind === "not-sent") this.#onRefused();
            onResult(result);
          },
          onClose: () => {
            this.#streams--;
            if (this.#refusals >= MAX_REFUSALS && this.#streams === 0) this.retire("refuses streams");
            if (this.#isRetired) this.#closeWhenDone();
            else onRoom();
          },
        },
        request,
        authorization,
      );
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      queueMicrotask(() => {
        this.retire(why);
        onResult({ kind: "not-sent", why });
      });
      return { giveUp: () => undefined };
    }
    this.#streams++;
    timer = setTimeout(() => {
      stream.giveUp(`no answer within ${requestTimeoutMs} ms`);
      this.#suspect(sentAtMs);
    }, requestTimeoutMs);
    return {
      giveUp: (why) => {
        stream.giveUp(why);
        // A caller that gives up has waited, perhaps for a dead peer.
        this.#check();
      },
    };
  }

  /** No new requests; the session closes when those on it have their results. */
  retire(why: string): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    clearTimeout(this.#refused);
    const { onRetired, requestTimeoutMs, pingTimeoutMs } = this.#options;
    // Each request has its own timeout; this is for a session that does not even report their end.
    this.#overdue = setTimeout(() => this.#destroy(), requestTimeoutMs + pingTimeoutMs);
    this.#closeWhenDone();
    onRetired(why);
  }

  #closeWhenDone(): void {
    if (this.#streams > 0 || this.#isClosed) return;
    clearTimeout(this.#overdue);
    this.#overdue = setTimeout(() => this.#destroy(), CLOSE_MS);
    if (!this.#session.destroyed) this.#session.close();
  }

  /** RFC 9113 8.7: it may be sent again; but at once it would only be refused again, thousands of times a second. */
  #onRefused(): void {
    if (this.#isRetired || this.#refused !== undefined) return;
    const backoff = { baseMs: REFUSED_BASE_MS, capMs: REFUSED_CAP_MS };
    this.#refused = setTimeout(
      () => {
        this.#refused = undefined;
        this.#options.onRoom();
      },
      REFUSED_MIN_MS + backoffMs(this.#refusals++, backoff),
    );
    this.#refused.unref();
  }

  #endRefusals(): void {
    this.#refusals = 0;
    clearTimeout(this.#refused);
    this.#refused = undefined;
  }

  #onAnswer(): void {
    this.#answers++;
    this.#answeredAtMs = this.#options.clock.monotonicMs();
  }

  #onIdleTick(): void {
    const isQuiet = this.#answers === this.#answersAtLastTick;
    this.#answersAtLastTick = this.#answers;
    if (isQuiet) this.#check();
  }

  /** Asks whether it lives, where that is not being asked. */
  #check(): void {
    if (!this.#isPinging) this.#ping(() => undefined);
  }

  #suspect(sentAtMs: number): void {
    if (this.#isRetired || this.#isSuspect) return;
    this.#isSuspect = true;
    this.#ping(() => {
      this.#isSuspect = false;
      // It answers PINGs but no request, not even a later one: something behind it is dead.
      if (this.#answeredAtMs < sentAtMs) this.retire("answers no request");
      else this.#options.onRoom();
    });
  }

  /** The session is destroyed where no answer comes in time. */
  #ping(onPong: () => void): void {
    if (this.#session.destroyed) return;
    const { pingTimeoutMs } = this.#options;
    this.#isPinging = true;
    const timer = setTimeout(() => {
      this.retire(`no answer to a PING within ${pingTimeoutMs} ms`);
      this.#destroy();
    }, pingTimeoutMs);
    this.#session.ping((error) => {
      clearTimeout(timer);
      this.#isPinging = false;
      if (error === null) onPong();
    });
  }

  #onGoaway(code: number, lastStreamId: number, data: Uint8Array | undefined): void {
    const before = this.#goaway?.lastStreamId ?? Infinity;
    this.#goaway = { code, lastStreamId: Math.min(lastStreamId, before) };
    const reason = readGoawayReason(data);
    this.retire(`GOAWAY ${code}${reason === undefined ? "" : ` ${reason}`}`);
  }

  /** Without waiting for the peer: its end of the socket may never come. */
  #destroy(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }

  #onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#idle);
    this.retire("the connection closed");
    clearTimeout(this.#overdue);
    this.#options.onClosed();
  }
}
