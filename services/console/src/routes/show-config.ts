// GET /api/config: what the page needs to know about the cluster.
// Guarantees: addresses only, no credential.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";

export interface PageConfig {
  readonly nodeUrls: readonly string[];
  /** Whether there is an APNs simulator, so that phones can be shown. */
  readonly hasPhones: boolean;
  /** Whether there is a Web Push simulator, so that browsers can be shown. */
  readonly hasBrowsers: boolean;
}

export function addShowConfig(app: HttpApp, config: PageConfig): void {
  app.get("/api/config", (_request, reply) => reply.header("cache-control", "no-store").send(config));
}
