// kernel/http -> here -> kernel/metrics: how many requests each route had, how they were answered, how long they took.
// Guarantees: clients cannot choose a label: routes are templates, and unknown paths and methods share one word each. A
// request costs two additions; the registry sums up when it is scraped.
import { DurationHistogram, type DurationSeries } from "../../metrics/duration-histogram.js";
import { Counter, type Registry } from "../../metrics/metrics.js";

/** The label for a path that no route has, or that cannot be decoded. */
export const UNMATCHED = "unmatched";
/** The label for a method that is missing, or that HTTP does not name. */
const OTHER_METHOD = "other";

const METHODS: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
  "CONNECT",
  "TRACE",
]);
/** Created at the start: otherwise `rate()` would miss the first failure of each. */
const FAILURES = [500, 503] as const;
const BOUNDS = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

type HistogramLabel = "route" | "method";

/** The requests of one route and method. */
export class RouteRequests {
  readonly #counts = new Map<number, number>();
  readonly #newSeries: () => DurationSeries;
  readonly route: string;
  #seconds: DurationSeries | undefined;

  constructor(route: string, newSeries: () => DurationSeries) {
    this.route = route;
    this.#newSeries = newSeries;
  }

  /** Creates the series of these statuses before the first such answer. */
  expect(statuses: readonly number[]): void {
    for (const status of statuses) this.#counts.set(status, this.#counts.get(status) ?? 0);
  }

  /** @param ms how long it took; undefined if the duration has no meaning */
  seen(status: number, ms: number | undefined): void {
    this.#counts.set(status, (this.#counts.get(status) ?? 0) + 1);
    if (ms === undefined) return;
    this.#seconds ??= this.#newSeries();
    this.#seconds.observe(ms / 1_000);
  }

  get counts(): ReadonlyMap<number, number> {
    return this.#counts;
  }
}

export class RequestMetrics {
  readonly #seconds: DurationHistogram<HistogramLabel>;
  /** Route -> method. */
  readonly #routes = new Map<string, Map<string, RouteRequests>>();

  constructor(registry: Registry) {
    this.#seconds = new DurationHistogram(registry, {
      name: "petrel_http_request_duration_seconds",
      help: "From a request's head to the end of its answer, by route",
      bounds: BOUNDS,
    });
    const routes = this.#routes;
    const counter = new Counter({
      name: "petrel_http_requests_total",
      help: "Requests answered, by route and status",
      labelNames: ["route", "method", "status"],
      registers: [],
      collect() {
        this.reset();
        for (const [route, methods] of routes)
          for (const [method, { counts }] of methods)
            for (const [status, count] of counts) this.inc({ route, method, status: String(status) }, count);
      },
    });
    registry.registerMetric(counter);
  }

  /** A route that exists. Callers with many requests keep the result. */
  route(route: string, method: string): RouteRequests {
    const requests = this.of(route, method);
    requests.expect(FAILURES);
    return requests;
  }

  of(route: string | undefined, method: string | undefined): RouteRequests {
    const path = route ?? UNMATCHED;
    const verb = method !== undefined && METHODS.has(method) ? method : OTHER_METHOD;
    let methods = this.#routes.get(path);
    if (methods === undefined) this.#routes.set(path, (methods = new Map()));
    let requests = methods.get(verb);
    if (requests === undefined) {
      const labels = { route: path, method: verb };
      methods.set(verb, (requests = new RouteRequests(path, () => this.#seconds.series(labels))));
    }
    return requests;
  }
}
