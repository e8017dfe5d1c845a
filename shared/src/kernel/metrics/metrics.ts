// A service's own metrics, in Prometheus' text format. One registry per process, made by its composition root.
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { findOutOfFiles } from "../logging/out-of-files.js";
import { addEventLoopLag } from "./event-loop-lag.js";

export { Counter, Gauge, Histogram, Registry } from "prom-client";

/**
 * Default metrics that walk every open socket at each scrape: they stopped a node with 20,000 connections for 50 ms.
 * The node counts its own connections instead.
 */
const COSTLY_DEFAULTS = [
  "process_open_fds",
  "nodejs_active_resources",
  "nodejs_active_resources_total",
  "nodejs_active_handles",
  "nodejs_active_handles_total",
  "nodejs_active_requests",
  "nodejs_active_requests_total",
] as const;

/** So long that the library's own monitor, which cannot be disabled, never wakes the process. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * Includes the process metrics (CPU, memory, garbage collection, event-loop delay).
 * @param component a label on every series; not named `service`, which Kubernetes' scrapers set on targets
 */
export function createRegistry(component: string, version?: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ component });
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS });
  for (const name of COSTLY_DEFAULTS) registry.removeSingleMetric(name);
  addEventLoopLag(registry);
  registry.registerMetric(
    new Gauge({
      name: "petrel_out_of_file_descriptors",
      help: "1 while this process can open no more sockets or files",
      registers: [],
      async collect() {
        this.set((await findOutOfFiles()) === undefined ? 0 : 1);
      },
    }),
  );
  if (version !== undefined) {
    new Gauge({
      name: "petrel_build_info",
      help: "Always 1; the labels name the running release",
      labelNames: ["version"],
      registers: [registry],
    }).set({ version }, 1);
  }
  return registry;
}
