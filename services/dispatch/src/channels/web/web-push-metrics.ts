// send-to-browser, host-breaker -> here: what a dispatcher measures of Web Push.
// Guarantees: counters only grow. Labels come from fixed lists, except the hosts whose breaker is open, which are few.
import { Counter, Gauge, Histogram, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { invalidationOutcomes } from "@petrel/shared/protocol/fallback/invalidation-reasons";
import type { PushVerdict } from "./judge-push-answer.js";

export type PushResult = PushVerdict["kind"] | "unanswered";

export interface WebPushMetrics {
  readonly sent: (result: PushResult, status: number | undefined, tookMs: number) => void;
  readonly breaker: (host: string, isOpen: boolean) => void;
  /** Subscriptions that have ended; see redis/device-invalidations. */
  readonly invalidated: (outcome: string, reason: string, count: number) => void;
}

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const results: readonly PushResult[] = ["taken", "gone", "retry", "halted", "failed", "unanswered"];
const reasons = ["subscription-gone", "subscription-expired"] as const;

export function createWebPushMetrics(registry: Registry): WebPushMetrics {
  const registers = [registry];
  const sends = new Counter({
    name: "petrel_web_push_sends_total",
    help: "Requests to browsers' push services, by what the answer means and its status class",
    labelNames: ["result", "status"],
    registers,
  });
  const seconds = new Histogram({
    name: "petrel_web_push_send_seconds",
    help: "How long a request to a push service took, including the wait for a connection",
    buckets: SECONDS,
    registers,
  });
  const breakers = new Gauge({
    name: "petrel_web_push_breaker_open",
    help: "1 while sends to a push service are paused because it failed to answer, or asked for a pause, many times in a row",
    labelNames: ["host"],
    registers,
  });
  const invalidations = new Counter({
    name: "petrel_web_push_invalidations_total",
    help: "Subscriptions that have ended: forgotten, kept because registered again, or dropped here",
    labelNames: ["outcome", "reason"],
    registers,
  });
  for (const result of results) sends.inc({ result, status: "" }, 0);
  for (const outcome of [...invalidationOutcomes, "dropped"]) {
    for (const reason of reasons) invalidations.inc({ outcome, reason }, 0);
  }
  return {
    sent: (result, status, tookMs) => {
      sends.inc({ result, status: status === undefined ? "" : `${Math.floor(status / 100)}xx` });
      seconds.observe(tookMs / 1_000);
    },
    breaker: (host, isOpen) => {
      if (isOpen) breakers.set({ host }, 1);
      else breakers.remove({ host });
    },
    invalidated: (outcome, reason, count) => invalidations.inc({ outcome, reason }, count),
  };
}
