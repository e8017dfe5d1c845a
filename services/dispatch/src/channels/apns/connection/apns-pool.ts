// channels/apns/send-to-device -> here -> apns-slot: sends requests to one environment of Apple with one credential.
// Guarantees: each request gets one result within longestSendMs. A request that a connection certainly did not send
// goes to another one. The queue is bounded by the callers, because each waits for its own request. Nothing is sent
// twice, except once more with a fresh token after Apple has refused the old one as expired.
import { type Clock, systemClock } from "@petrel/shared/kernel/clock";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { ApnsConnection, ApnsConnectionLimits, SentRequest } from "./apns-connection.js";
import type { ApnsAnswer, ApnsRequest, ApnsResult } from "./apns-exchange.js";
import { ApnsSlot } from "./apns-slot.js";
import type { LookUp } from "./connect-tcp.js";
import type { ClientCertificate } from "./open-apns-session.js";
import { unlessAborted } from "../../unless-aborted.js";

/** Provider tokens, see credentials/provider-token. */
export interface TokenSource {
  readonly current: () => Promise<string>;
  /**
   * @returns a token other than the given one, which Apple has refused as expired; the same if no other is available
   * yet
   */
  readonly replace: (expired: string) => Promise<string>;
}

export type ApnsAuth =
  | { readonly kind: "token"; readonly tokens: TokenSource }
  | { readonly kind: "certificate"; readonly certificate: ClientCertificate };

export interface ApnsPoolMetrics {
  opened(): void;
  /** A connection was lost, or retired after a GOAWAY. */
  lost(): void;
  /** A connection could not be opened. */
  failed(): void;
}

export interface ApnsPoolOptions extends Partial<ApnsConnectionLimits> {
  /** https://host or https://host:2197 */
  readonly endpoint: string;
  readonly auth: ApnsAuth;
  /** PEM; replaces the system's authorities. */
  readonly ca?: string | Buffer;
  /** http(s)://user:password@host:port */
  readonly proxyUrl?: string;
  readonly lookUp?: LookUp;
  /** 2 by default. */
  readonly connections?: number;
  readonly connectTimeoutMs?: number;
  /** How long a request may wait for room on a connection, ms. */
  readonly waitMs?: number;
  readonly reconnectBaseMs?: number;
  readonly reconnectCapMs?: number;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly logger: Logger;
  readonly metrics?: ApnsPoolMetrics;
}

interface Waiting {
  readonly request: ApnsRequest;
  readonly authorization: string | undefined;
  readonly waitUntilMs: number;
  readonly settle: (result: ApnsResult) => void;
  timer: NodeJS.Timeout | undefined;
  sent: SentRequest | undefined;
}

interface ExpiredToken {
  readonly authorization: string;
  readonly answer: ApnsAnswer;
}

const DEFAULT_CONNECTIONS = 2;
const DEFAULT_WAIT_MS = 10_000;
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_REQUEST_TIMEOUT_MS = 10_000;
/** Long enough to ask Redis for a token twice. */
const TOKEN_MS = 11_000;

export class ApnsPool {
  /** `send` has its result within this time, ms. */
  readonly longestSendMs: number;
  readonly #options: ApnsPoolOptions;
  readonly #clock: Clock;
  readonly #waitMs: number;
  readonly #slots: readonly ApnsSlot[];
  /** First in, first out; requests that a connection gave back go to the front. */
  readonly #waiting = new Set<Waiting>();
  readonly #returned = new Set<Waiting>();
  #isClosed = false;
  #lastFault = "";
  /** The token that Apple has refused as expired: no waiting request is sent with it. */
  #expired: ExpiredToken | undefined;

  constructor(options: ApnsPoolOptions) {
    const { clock = systemClock, logger, metrics, auth, endpoint } = options;
    this.#options = options;
    this.#clock = clock;
    this.#waitMs = options.waitMs ?? DEFAULT_WAIT_MS;
    const limits = {
      requestTimeoutMs: options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
      pingIdleMs: options.pingIdleMs ?? 30_000,
      pingTimeoutMs: options.pingTimeoutMs ?? 5_000,
      maxStreams: options.maxStreams ?? 1_000,
    };
    this.longestSendMs = this.#waitMs + limits.requestTimeoutMs * 2 + (auth.kind === "token" ? TOKEN_MS : 0);
    const slotOptions = {
      endpoint: {
        endpoint,
        connectTimeoutMs: options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
        ...(options.ca === undefined ? {} : { ca: options.ca }),
        ...(options.proxyUrl === undefined ? {} : { proxyUrl: options.proxyUrl }),
        ...(options.lookUp === undefined ? {} : { lookUp: options.lookUp }),
        ...(auth.kind === "certificate" ? { certificate: auth.certificate } : {}),
      },
      limits,
      reconnectBaseMs: options.reconnectBaseMs ?? 500,
      reconnectCapMs: options.reconnectCapMs ?? 30_000,
      clock,
      random: options.random ?? Math.random,
      onRoom: () => this.#pump(),
      onOpened: () => {
        metrics?.opened();
        logger.debug({ endpoint }, "apns: connected");
      },
      onLost: (why: string) => {
        metrics?.lost();
        if (why !== "closing") logger.info({ endpoint, reason: why }, "apns: connection retired");
      },
      onFailed: (why: string) => {
        metrics?.failed();
        if (why !== this.#lastFault) logger.warn({ endpoint, reason: why }, "apns: cannot connect");
        this.#lastFault = why;
      },
    };
    this.#slots = Array.from(
      { length: options.connections ?? DEFAULT_CONNECTIONS },
      () => new ApnsSlot(slotOptions),
    );
  }

  /** A snapshot for metrics. */
  get state(): { readonly connections: number; readonly inFlight: number; readonly waiting: number } {
    let inFlight = 0;
    for (const slot of this.#slots) inFlight += slot.inFlight;
    return {
      connections: this.#slots.filter(({ connection }) => connection !== undefined).length,
      inFlight,
      waiting: this.#waiting.size + this.#returned.size,
    };
  }

  /**
   * Sends it on the first connection that has room. Faults are results too: it rejects only if `signal` is aborted, and
   * then at once; in that case the request may or may not have reached Apple.
   */
  async send(request: ApnsRequest, signal: AbortSignal): Promise<ApnsResult> {
    signal.throwIfAborted();
    const { auth } = this.#options;
    if (auth.kind === "certificate") return this.#queue(request, undefined, this.#waitMs, signal);
    let token: string;
    try {
      token = await unlessAborted(auth.tokens.current(), signal);
    } catch (error) {
      signal.throwIfAborted();
      return { kind: "not-sent", why: `no provider token: ${describeError(error)}` };
    }
    const sinceMs = this.#clock.monotonicMs();
    const result = await this.#queue(request, token, this.#waitMs, signal);
    if (!isExpiredToken(result)) return result;
    const fresh = await unlessAborted(auth.tokens.replace(token), signal).catch(() => token);
    // No other token is available, so let Apple decide later whether it accepts this one again.
    if (fresh === token && this.#expired?.authorization === bearer(token)) this.#expired = undefined;
    signal.throwIfAborted();
    const waitMs = this.#waitMs - (this.#clock.monotonicMs() - sinceMs);
    if (fresh === token || waitMs <= 0) return result;
    return this.#queue(request, fresh, waitMs, signal);
  }

  /** Requests that were sent get their results; waiting ones are no longer sent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const waiting of [...this.#returned, ...this.#waiting]) {
      this.#forget(waiting);
      waiting.settle({ kind: "not-sent", why: "closing" });
    }
    await Promise.all(this.#slots.map((slot) => slot.close()));
  }

  async #queue(
    request: ApnsRequest,
    token: string | undefined,
    waitMs: number,
    signal: AbortSignal,
  ): Promise<ApnsResult> {
    signal.throwIfAborted();
    if (this.#isClosed) return { kind: "not-sent", why: "closing" };
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        request,
        authorization: token === undefined ? undefined : bearer(token),
        waitUntilMs: this.#clock.monotonicMs() + waitMs,
        settle: (result) => {
          signal.removeEventListener("abort", abort);
          resolve(result);
        },
        timer: undefined,
        sent: undefined,
      };
      const abort = (): void => {
        this.#forget(waiting);
        reject(signal.reason as Error);
        waiting.sent?.giveUp("aborted");
      };
      signal.addEventListener("abort", abort, { once: true });
      this.#wait(waiting, this.#waiting);
      this.#pump();
    });
  }

  #wait(waiting: Waiting, queue: Set<Waiting>): void {
    queue.add(waiting);
    waiting.timer ??= setTimeout(() => {
      this.#forget(waiting);
      const fault = this.#lastFault === "" ? "" : `: ${this.#lastFault}`;
      waiting.settle({ kind: "not-sent", why: `no connection had room within ${this.#waitMs} ms${fault}` });
    }, waiting.waitUntilMs - this.#clock.monotonicMs());
  }

  #forget(waiting: Waiting): void {
    clearTimeout(waiting.timer);
    waiting.timer = undefined;
    this.#waiting.delete(waiting);
    this.#returned.delete(waiting);
  }

  #pump(): void {
    for (;;) {
      const [next] = this.#returned.size > 0 ? this.#returned : this.#waiting;
      if (next === undefined) return;
      if (this.#expired !== undefined && next.authorization === this.#expired.authorization) {
        this.#forget(next);
        next.settle({ ...this.#expired.answer, apnsId: undefined });
        continue;
      }
      const connection = this.#roomiest();
      if (connection === undefined) {
        this.#openMore();
        return;
      }
      this.#forget(next);
      next.sent = connection.send(next.request, next.authorization, (result) =>
        this.#onResult(next, connection, result),
      );
    }
  }

  /** The connection with the fewest requests, so that the load is even. */
  #roomiest(): ApnsConnection | undefined {
    let best: ApnsConnection | undefined;
    for (const { connection } of this.#slots) {
      if (connection === undefined || connection.room === 0) continue;
      if (best === undefined || connection.inFlight < best.inFlight) best = connection;
    }
    return best;
  }

  /** Opens as many connections as there is work for. */
  #openMore(): void {
    let wanted = this.#waiting.size + this.#returned.size;
    for (const slot of this.#slots) {
      if (wanted <= 0) return;
      if (slot.open()) wanted--;
    }
  }

  #onResult(waiting: Waiting, connection: ApnsConnection, result: ApnsResult): void {
    waiting.sent = undefined;
    if (isExpiredToken(result)) this.#onExpired(waiting, connection, result);
    if (result.kind === "answered" && result.status !== 403) this.#lastFault = "";
    if (result.kind !== "not-sent" || this.#isClosed || this.#clock.monotonicMs() >= waiting.waitUntilMs) {
      waiting.settle(result);
      return;
    }
    this.#wait(waiting, this.#returned);
    this.#pump();
  }

  /** No request goes out with this token from now on, on any connection. */
  #onExpired({ authorization }: Waiting, connection: ApnsConnection, answer: ApnsAnswer): void {
    if (authorization !== undefined) this.#expired = { authorization, answer };
    connection.retire("its token has expired");
  }
}

function bearer(token: string): string {
  return `bearer ${token}`;
}

function isExpiredToken(result: ApnsResult): result is ApnsAnswer {
  return result.kind === "answered" && result.status === 403 && result.reason === "ExpiredProviderToken";
}
