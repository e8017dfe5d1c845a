// kernel/http/http-app, and what answers past the framework -> here -> request-metrics, access-log: each request, from
// its head to the end of its answer.
// Guarantees: a request has one id and counts once, whoever answers it, even if its client leaves before the answer.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Registry } from "../../metrics/metrics.js";
import type { AccessLog, LoggedRequest } from "./access-log.js";
import { RequestIds } from "./request-ids.js";
import { RequestMetrics, type RouteRequests } from "./request-metrics.js";

/** The client left before the answer; the status that nginx uses for it. */
export const CLIENT_LEFT = 499;

/** A request as the framework describes it. */
export interface RoutedRequest {
  readonly id: string;
  readonly raw: IncomingMessage;
  readonly method: string;
  readonly is404: boolean;
  readonly routeOptions: {
    /** The route's path template. */
    readonly url?: string | undefined;
    /** `waits`: its requests wait on purpose, such as a long poll, so their durations are not measured. */
    readonly config?: { readonly waits?: boolean };
  };
}

/** How a request ended. */
export interface Outcome {
  /** Undefined if it has none. */
  readonly requestId: string | undefined;
  readonly status: number;
  readonly ms: number;
}

export class RequestWatch {
  readonly #metrics: RequestMetrics;
  readonly #ids = new RequestIds();
  readonly #log: AccessLog | undefined;

  /** @param log undefined if there is no access log */
  constructor(registry: Registry, log?: AccessLog) {
    this.#metrics = new RequestMetrics(registry);
    this.#log = log;
  }

  idOf({ headers }: Pick<IncomingMessage, "headers">): string {
    return this.#ids.of(headers);
  }

  /** A route whose requests are answered without `begin`, or one whose series must exist before its first request. */
  route(route: string, method: string): RouteRequests {
    return this.#metrics.route(route, method);
  }

  /** Counts the request when its answer has been written. */
  begin({ id, raw, method, is404, routeOptions }: RoutedRequest, response: ServerResponse): void {
    const startedAtMs = performance.now();
    const requests = this.#metrics.of(is404 ? undefined : routeOptions.url, method);
    const waits = routeOptions.config?.waits === true;
    // `close` is emitted once: after the last byte was handed over, or when the socket has closed.
    response.once("close", () => {
      const status = response.writableEnded ? response.statusCode : CLIENT_LEFT;
      const ms = performance.now() - startedAtMs;
      requests.seen(status, waits ? undefined : ms);
      this.#log?.answered(raw, { requestId: id, route: requests.route, status, ms });
    });
  }

  /** Counts a request that was answered without the framework. */
  answered(request: LoggedRequest, requests: RouteRequests, { requestId, status, ms }: Outcome): void {
    requests.seen(status, ms);
    this.#log?.answered(request, { requestId, route: requests.route, status, ms });
  }

  /**
   * Counts an answer to bytes that never became a request for the framework.
   * @returns a new id for the answer, because the client's own could not be read
   */
  answeredBelow(status: number, method?: string): string {
    this.#metrics.of(undefined, method).seen(status, undefined);
    return this.#ids.of({});
  }
}
