// connect -> here: how Redis answers this process, as the process sees it.
// Guarantees: low cardinality: labels name links, never commands or keys. Each call is measured once, from the call to
// its answer or failure. A link with blocking reads is not measured here.
import { DurationHistogram } from "../../kernel/metrics/duration-histogram.js";
import { Counter, Gauge, type Registry } from "../../kernel/metrics/metrics.js";
import type { Redis } from "./connect.js";

/** `timeout`: no answer in time · `connection`: no link, or it broke · `refused`: Redis answered with an error */
export const redisFailures = ["timeout", "connection", "refused"] as const;
export type RedisFailure = (typeof redisFailures)[number];

const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

export class RedisMetrics {
  readonly #seconds: DurationHistogram<"link">;
  readonly #failures: Counter<"link" | "reason">;
  readonly #links = new Map<string, Redis>();

  /** @param partitions as this process is configured */
  constructor(registry: Registry, partitions: number) {
    new Gauge({
      name: "petrel_partitions",
      help: "Partitions that users are divided into; each should be owned by a dispatcher",
      registers: [registry],
    }).set(partitions);
    this.#seconds = new DurationHistogram(registry, {
      name: "petrel_redis_call_duration_seconds",
      help: "From a call to Redis to its answer, as seen by this process; failed calls are not included",
      bounds: BOUNDS,
    });
    this.#failures = new Counter({
      name: "petrel_redis_call_failures_total",
      help: "Calls to Redis that failed: no answer in time, no link, or refused",
      labelNames: ["link", "reason"],
      registers: [registry],
    });
    const links = this.#links;
    registry.registerMetric(
      new Gauge({
        name: "petrel_redis_link_up",
        help: "1 while there is a link to Redis; on a cluster, to any of its nodes",
        labelNames: ["link"],
        registers: [],
        collect() {
          for (const [link, { status }] of links) this.set({ link }, status === "ready" ? 1 : 0);
        },
      }),
    );
  }

  /**
   * Shows whether a connection is up.
   * @param link what the link is for, such as "commands"; a fixed word, used once
   */
  watchLink(redis: Redis, link: string): void {
    this.#links.set(link, redis);
  }

  /** The same, and measures every call on the connection from now on. */
  watch(redis: Redis, link: string): void {
    this.watchLink(redis, link);
    for (const reason of redisFailures) this.#failures.inc({ link, reason }, 0);
    const series = this.#seconds.series({ link });
    const send = redis.sendCommand.bind(redis);
    redis.sendCommand = (...call: Parameters<typeof send>) => {
      const startedMs = performance.now();
      const answer = send(...call);
      (answer as Promise<unknown>).then(
        () => series.observe((performance.now() - startedMs) / 1000),
        (error: unknown) => {
          const reason = classifyRedisFailure(error);
          if (reason !== undefined) this.#failures.inc({ link, reason });
        },
      );
      return answer;
    };
  }
}

/** @returns undefined if nothing failed: the script is not loaded yet (NOSCRIPT), or the slot has moved */
export function classifyRedisFailure(error: unknown): RedisFailure | undefined {
  const { name, message } = error instanceof Error ? error : { name: "", message: "" };
  if (name !== "ReplyError") return message.includes("timed out") ? "timeout" : "connection";
  return /^(NOSCRIPT|MOVED|ASK|UNBLOCKED)\b/.test(message) ? undefined : "refused";
}
