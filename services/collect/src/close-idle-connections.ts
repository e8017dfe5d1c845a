// collect's stop: lets go of connections that producers keep open between requests.
// Guarantees: a request that was begun is answered; a connection that falls idle while we stop does not hold us up.
import type { HttpApp } from "@petrel/shared/kernel/http-app";

const EVERY_MS = 25;

/** `close()` ends the connections that are idle at that moment; the others would stay for their keep-alive time. */
export function closeIdleConnectionsAtStop(app: HttpApp): void {
  app.addHook("preClose", (done) => {
    const { server } = app;
    if (server.listening) {
      const timer = setInterval(() => server.closeIdleConnections(), EVERY_MS);
      server.once("close", () => clearInterval(timer));
    }
    done();
  });
}
