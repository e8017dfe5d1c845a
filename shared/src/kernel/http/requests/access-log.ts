// kernel/http/requests/watch-requests -> here -> the log: a line for a share of the requests.
// Guarantees: off unless asked for. While it is on, every failed request is logged up to a bound, so a crowd that is
// refused cannot fill the disk. A line shows only the request's id and method of what a client sent: no path, which may
// name a person, no query, no header, no body.
import type { IncomingMessage } from "node:http";
import { type Clock, systemClock } from "../../clock.js";
import type { Logger } from "../../logging/logging.js";

/** What a line needs of a request. */
export type LoggedRequest = Pick<IncomingMessage, "method" | "headers" | "socket">;

export interface AccessLogOptions {
  readonly logger: Pick<Logger, "info">;
  /** The share of successful requests to log: 0 to 1. */
  readonly sample: number;
  readonly addressOf: (request: LoggedRequest) => string;
  readonly clock?: Clock;
  /** Uniform in [0, 1); tests pass their own. */
  readonly random?: () => number;
}

export interface AnsweredRequest {
  readonly requestId: string | undefined;
  readonly route: string;
  readonly status: number;
  readonly ms: number;
}

const MAX_FAILURES_PER_SECOND = 100;

export class AccessLog {
  readonly #options: AccessLogOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  #second = 0;
  #failures = 0;

  constructor(options: AccessLogOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
  }

  answered(request: LoggedRequest, { requestId, route, status, ms }: AnsweredRequest): void {
    if (!this.#wants(status)) return;
    const { logger, addressOf } = this.#options;
    const { method } = request;
    const address = addressOf(request);
    const rounded = Math.round(ms * 1_000) / 1_000;
    logger.info({ requestId, method, route, status, ms: rounded, address }, "request");
  }

  #wants(status: number): boolean {
    return (status >= 400 && this.#isWithinBound()) || this.#random() < this.#options.sample;
  }

  #isWithinBound(): boolean {
    const second = Math.floor(this.#clock.monotonicMs() / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#failures = 0;
    }
    return ++this.#failures <= MAX_FAILURES_PER_SECOND;
  }
}
