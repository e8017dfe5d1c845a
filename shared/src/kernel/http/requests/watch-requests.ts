// kernel/http/http-app, and what answers past the framework -> here -> request-metrics: each request, from its head to the
// end of its answer.
// Guarantees: a request counts once, whoever answers it, and also where its client left before the answer.
import type { ServerResponse } from "node:http";
import type { Registry } from "../../metrics/metrics.js";
import { RequestMetrics, type RouteRequests } from "./request-metrics.js";

/** The client left before it was answered; nginx' number for it. */
export const CLIENT_LEFT = 499;

/** As the framework describes it. */
export interface RoutedRequest {
  readonly method: string;
  readonly is404: boolean;
  readonly routeOptions: {
    /** Its template. */
    readonly url?: string | undefined;
    /** `waits`: its requests wait by their nature, such as a long poll: their durations say nothing. */
    readonly config: { readonly waits?: boolean };
  };
}

export class RequestWatch {
  readonly #metrics: RequestMetrics;

  constructor(registry: Registry) {
    this.#metrics = new RequestMetrics(registry);
  }

  /** A route whose requests are answered past `begin`, or that there will be. */
  route(route: string, method: string): RouteRequests {
    return this.#metrics.route(route, method);
  }

  /**
   * Counts the request when its answer has been written.
   * @param request undefined where its path cannot be read
   */
  begin(response: ServerResponse, method: string, request?: RoutedRequest): void {
    const startedAtMs = performance.now();
    const { url, config } = request?.routeOptions ?? {};
    const requests = this.#metrics.of(request?.is404 === true ? undefined : url, method);
    // Emitted once, after the last byte was handed over, or when the socket has closed.
    response.once("close", () => {
      const status = response.writableEnded ? response.statusCode : CLIENT_LEFT;
      requests.seen(status, config?.waits === true ? undefined : performance.now() - startedAtMs);
    });
  }

  /** An answer to bytes that never became a request for the framework. */
  answeredBelow(status: number, method?: string): void {
    this.#metrics.of(undefined, method).seen(status, undefined);
  }
}
