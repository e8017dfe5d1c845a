// GET /api/config: what the page needs to know of the cluster.
// Guarantees: addresses only, no credential.
import type { HttpApp } from "@petrel/shared/kernel/http-app";

export function addShowConfig(app: HttpApp, nodeUrls: readonly string[]): void {
  app.get("/api/config", (_request, reply) => reply.header("cache-control", "no-store").send({ nodeUrls }));
}
