// An operator's scraper or probe -> here: the internal listener of a service that faces users.
// Guarantees: metrics are never served on the listener that users reach.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Registry } from "../metrics/metrics.js";
import type { TlsFiles } from "../tls/tls-files.js";

export interface InternalListener {
  readonly registry: Registry;
  readonly port: number;
  readonly host: string;
  readonly tls?: TlsFiles | undefined;
  /** Answers `/health/live` and `/health/ready` like the main listener, for probes without a client certificate. */
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
