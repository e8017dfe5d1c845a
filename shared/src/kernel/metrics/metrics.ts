// A service's own measurements, in Prometheus' text format.
// Guarantees: one registry a process, made by its composition root; served on an internal listener only.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { findOutOfFiles } from "../logging/out-of-files.js";
import type { TlsFiles } from "../tls/tls-files.js";

export { Counter, Gauge, Histogram, Registry } from "prom-client";

/**
 * Defaults of the client library that walk over every open socket at each reading: a node with 20,000 stood still for
 * 50 ms. Connections are counted by the node itself.
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

/**
 * With the process' own measurements (CPU, memory, garbage collection, event-loop delay).
 * @param component stands on every series; not called `service`, a name that Kubernetes' scrapers give to targets
 */
export function createRegistry(component: string, version?: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ component });
  collectDefaultMetrics({ register: registry });
  for (const name of COSTLY_DEFAULTS) registry.removeSingleMetric(name);
  registry.registerMetric(
    new Gauge({
      name: "petrel_out_of_file_descriptors",
      help: "1 while this process can open no socket and no file more",
      registers: [],
      async collect() {
        this.set((await findOutOfFiles()) === undefined ? 0 : 1);
      },
    }),
  );
  if (version !== undefined) {
    new Gauge({
      name: "petrel_build_info",
      help: "Always 1; the labels say which release runs",
      labelNames: ["version"],
      registers: [registry],
    }).set({ version }, 1);
  }
  return registry;
}

export interface InternalListener {
  readonly registry: Registry;
  readonly port: number;
  readonly host: string;
  readonly tls?: TlsFiles | undefined;
  /** Answers `/health/live` and `/health/ready` as the other listener does, for probes that have no client certificate. */
  readonly health?: (path: string) => Promise<{ readonly statusCode: number; readonly body: string }>;
}

/**
 * Opens the internal listener.
 * @returns the listening server; close it at the stop
 */
export async function serveMetrics({ registry, port, host, tls, health }: InternalListener): Promise<Server> {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { url = "", method } = request;
    if (url === "/metrics" && method === "GET") {
      response.writeHead(200, { "content-type": registry.contentType }).end(await registry.metrics());
    } else if (health !== undefined && method === "GET" && /^\/health\/(live|ready)$/.test(url)) {
      const { statusCode, body } = await health(url);
      response.writeHead(statusCode, { "content-type": "application/json" }).end(body);
    } else {
      response.writeHead(404).end();
    }
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    answer(request, response).catch(() => response.writeHead(500).end());
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls.serverOptions, listener);
  tls?.serve(server);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return server;
}
