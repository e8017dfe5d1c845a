// send-to-device, device-breaker -> here: what a dispatcher measures of APNs.
// Guarantees: counters only grow. Labels come from fixed lists, except the topics whose breaker is open, which are few.
import { Counter, Gauge, Histogram, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { type ApnsEnvironment, apnsEnvironments } from "@petrel/shared/protocol/fallback/device";
import {
  invalidationOutcomes,
  invalidationReasons,
} from "@petrel/shared/protocol/fallback/invalidation-reasons";
import type { ApnsResult } from "./connection/apns-exchange.js";
import type { ApnsRoute } from "./apns-routes.js";
import type { DeviceScope } from "./app-breaker.js";
import { apnsReasons, type ApnsVerdict } from "./judge-apns-answer.js";

export interface ApnsMetrics {
  readonly sent: (
    environment: ApnsEnvironment,
    result: ApnsResult,
    verdict: ApnsVerdict | undefined,
    tookMs: number,
  ) => void;
  /** A device of an app that is not configured. */
  readonly noApp: (environment: ApnsEnvironment) => void;
  readonly connection: (environment: ApnsEnvironment, event: "opened" | "lost" | "failed") => void;
  readonly breaker: (scope: DeviceScope, isOpen: boolean) => void;
  /** Devices that Apple no longer reaches; see redis/device-invalidations. */
  readonly invalidated: (outcome: string, reason: string, count: number) => void;
}

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15];

export function createApnsMetrics(registry: Registry, routes: () => readonly ApnsRoute[]): ApnsMetrics {
  const registers = [registry];
  const sends = new Counter({
    name: "petrel_apns_sends_total",
    help: "Requests to APNs, by what the answer means and Apple's reason",
    labelNames: ["environment", "result", "reason"],
    registers,
  });
  const seconds = new Histogram({
    name: "petrel_apns_send_seconds",
    help: "How long a request took, including the wait for a connection",
    labelNames: ["environment"],
    buckets: SECONDS,
    registers,
  });
  const noApp = new Counter({
    name: "petrel_apns_no_app_total",
    help: "Devices skipped because nothing is configured for their app and environment",
    labelNames: ["environment"],
    registers,
  });
  const connections = new Counter({
    name: "petrel_apns_connections_total",
    help: "Connections to APNs: opened, lost, or failed to open",
    labelNames: ["environment", "event"],
    registers,
  });
  const breakers = new Gauge({
    name: "petrel_apns_breaker_open",
    help: "1 while an app's sends are paused because Apple rejected many of its device tokens at once",
    labelNames: ["topic", "environment"],
    registers,
  });
  const invalidations = new Counter({
    name: "petrel_apns_invalidations_total",
    help: "Devices that Apple cannot reach: forgotten, quarantined, kept because registered again, or dropped here",
    labelNames: ["outcome", "reason"],
    registers,
  });
  for (const environment of apnsEnvironments) {
    for (const result of ["taken", "not-sent", "unanswered"])
      sends.inc({ environment, result, reason: "" }, 0);
    noApp.inc({ environment }, 0);
    for (const event of ["opened", "lost", "failed"]) connections.inc({ environment, event }, 0);
  }
  for (const outcome of [...invalidationOutcomes, "dropped"]) {
    for (const reason of invalidationReasons) invalidations.inc({ outcome, reason }, 0);
  }
  addRouteGauges(registry, routes);
  return {
    sent: (environment, result, verdict, tookMs) => {
      const reason = result.kind === "answered" ? knownReason(result.reason) : "";
      sends.inc({ environment, result: verdict?.kind ?? result.kind, reason });
      seconds.observe({ environment }, tookMs / 1000);
    },
    noApp: (environment) => noApp.inc({ environment }),
    connection: (environment, event) => connections.inc({ environment, event }),
    breaker: ({ topic, environment }, isOpen) => {
      if (isOpen) breakers.set({ topic, environment }, 1);
      else breakers.set({ topic, environment }, 0);
    },
    invalidated: (outcome, reason, count) => invalidations.inc({ outcome, reason }, count),
  };
}

function addRouteGauges(registry: Registry, routes: () => readonly ApnsRoute[]): void {
  const gauge = (
    name: string,
    help: string,
    labelNames: string[],
    fill: (gauge: Gauge, route: ApnsRoute) => void,
  ) =>
    registry.registerMetric(
      new Gauge({
        name,
        help,
        labelNames,
        registers: [],
        collect() {
          this.reset();
          for (const route of routes()) fill(this, route);
        },
      }),
    );
  const byRoute = ["credential", "environment"];
  const labelsOf = ({ credential, environment }: ApnsRoute) => ({ credential, environment });
  gauge("petrel_apns_connections", "Connections to APNs that accept requests", byRoute, (to, route) =>
    to.set(labelsOf(route), route.pool.state.connections),
  );
  gauge("petrel_apns_in_flight", "Requests to APNs in flight", byRoute, (to, route) =>
    to.set(labelsOf(route), route.pool.state.inFlight),
  );
  gauge("petrel_apns_waiting", "Requests waiting for room on a connection", byRoute, (to, route) =>
    to.set(labelsOf(route), route.pool.state.waiting),
  );
  gauge(
    "petrel_apns_credential_halted",
    "1 if Apple has refused the key or the certificate",
    byRoute,
    (to, route) => to.set(labelsOf(route), route.gate.isHalted ? 1 : 0),
  );
  gauge(
    "petrel_apns_halted_topics",
    "Topics for which Apple has refused the key or the certificate while accepting it for others",
    byRoute,
    (to, route) => to.set(labelsOf(route), route.gate.haltedTopics),
  );
  gauge(
    "petrel_apns_credential_resting",
    "1 while sending with a key is paused because Apple saw too many of its provider tokens",
    byRoute,
    (to, route) => to.set(labelsOf(route), route.gate.isResting ? 1 : 0),
  );
}

/** An unknown reason from outside must not become a label. */
function knownReason(reason: string | undefined): string {
  if (reason === undefined) return "";
  return Object.hasOwn(apnsReasons, reason) ? reason : "other";
}
