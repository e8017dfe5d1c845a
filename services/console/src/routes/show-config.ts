// GET /api/config: what the page needs to know of the cluster.
// Guarantees: addresses only, no credential.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";

export interface PageConfig {
  readonly nodeUrls: readonly string[];
  /** Whether there is an APNs simulator to show phones of. */
  readonly hasPhones: boolean;
  /** Whether there is a Web Push simulator to show browsers of. */
  readonly hasBrowsers: boolean;
}

export function addShowConfig(app: HttpApp, config: PageConfig): void {
  app.get("/api/config", (_request, reply) => reply.header("cache-control", "no-store").send(config));
}
