// apns-slot -> here -> apns-stream: one HTTP/2 session with Apple: its limits, its PINGs, its end.
// Guarantees: the first request goes alone until an answer other than 403 has come. Then there are never more streams
// than the peer's SETTINGS allow, even when they change. A silent peer is detected within pingTimeoutMs and the session
// destroyed, so that every request on it gets its result. After a GOAWAY nothing new is sent. A peer that refuses
// streams gets one at a time, with growing pauses, and is abandoned if that does not help.
import type { ClientHttp2Session } from "node:http2";
import { backoffMs } from "@petrel/shared/kernel/backoff";
import type { Clock } from "@petrel/shared/kernel/clock";
import type { ApnsRequest, ApnsResult } from "./apns-exchange.js";
import { ApnsStream } from "./apns-stream.js";
import type { ApnsSession } from "./open-apns-session.js";
import { readGoawayReason } from "./read-apns-answer.js";

export interface ApnsConnectionLimits {
  /** From handing the request to its stream to the end of its answer, ms. */
  readonly requestTimeoutMs: number;
  /** How long a connection may receive nothing before it is checked with a PING, ms. */
  readonly pingIdleMs: number;
  /** How long the answer to a PING may take, ms. */
  readonly pingTimeoutMs: number;
  /** The most concurrent streams, even if the peer would allow more. */
  readonly maxStreams: number;
}

export interface ApnsConnectionOptions extends ApnsConnectionLimits {
  readonly clock: Clock;
  /** Called when there may be room for another request. */
  readonly onRoom: () => void;
  /** The connection will never take new requests; those on it continue. Called once. */
  readonly onRetired: (why: string) => void;
  /** The connection and all its streams are gone. Called once, after onRetired. */
  readonly onClosed: () => void;
}

export interface SentRequest {
  /** Stops waiting: the result is "unanswered" at once. */
  giveUp(why: string): void;
}

/** How long a session may take to close once it has nothing left to do, ms. */
const CLOSE_MS = 500;
/** The pause after a refused stream, ms: at least the first value, plus full jitter. */
const REFUSED_MIN_MS = 5;
const REFUSED_BASE_MS = 10;
const REFUSED_CAP_MS = 1_000;
/** After this many pauses without an answer, another connection may do better. */
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
  /** A request timed out and the PING that checks on it is still unanswered. */
  #isSuspect = false;
  #isPinging = false;
  #goaway: { readonly code: number; readonly lastStreamId: number } | undefined;
  #answeredAtMs: number;
  #answersAtLastTick = 0;
  #answers = 0;
  #overdue: NodeJS.Timeout | undefined;
  /** In a row, with no answer between them; refusals during one pause count once. */
  #refusals = 0;
  #refused: NodeJS.Timeout | undefined;

  /** @param session open, its first SETTINGS received */
  constructor({ session, socket }: ApnsSession, options: ApnsConnectionOptions) {
    this.#session = session;
    this.#socket = socket;
    this.#options = options;
    this.#answeredAtMs = options.clock.monotonicMs();
    session.on("remoteSettings", () => options.onRoom());
    // A GOAWAY or the streams themselves give a better reason, if there is one.
    session.on("error", (error: Error) => this.retire(error.message));
    session.on("goaway", (code, lastStreamId, data) => this.#onGoaway(code, lastStreamId, data));
    session.on("close", () => this.#onClose());
    this.#idle = setInterval(() => this.#onIdleTick(), options.pingIdleMs);
  }

  /** Whether a request has had an answer other than 403. */
  get isProven(): boolean {
    return this.#isProven;
  }

  get inFlight(): number {
    return this.#streams;
  }

  /** How many more requests may be sent now. */
  get room(): number {
    if (this.#isRetired || this.#isSuspect || this.#refused !== undefined) return 0;
    if (this.#session.closed || this.#session.destroyed) return 0;
    const { maxConcurrentStreams = Infinity } = this.#session.remoteSettings;
    const isOpenToAll = this.#isProven && this.#refusals === 0;
    const limit = Math.min(maxConcurrentStreams, this.#options.maxStreams, isOpenToAll ? Infinity : 1);
    return Math.max(0, limit - this.#streams);
  }

  /**
   * Call it only if there is room. The result always comes after this has returned.
   * @param authorization `bearer <token>`, or undefined if we authenticate by certificate
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
            // Do this first: whoever gets the result may send again at once.
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
        // A caller that gives up may have been waiting for a dead peer, so check it.
        this.#check();
      },
    };
  }

  /** Takes no new requests; the session closes when those on it have their results. */
  retire(why: string): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    clearTimeout(this.#refused);
    const { onRetired, requestTimeoutMs, pingTimeoutMs } = this.#options;
    // Each request has its own timeout. This one catches a session that never reports its streams' end.
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

  /** RFC 9113 8.7 allows sending it again. Without a pause it would be refused again, thousands of times a second. */
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

  /** Sends a PING, unless one is already under way. */
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

  /** Destroys the session if no answer comes in time. */
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

  /** Does not wait for the peer, whose end of the socket may never come. */
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
