// The headers that restrict what the console's page may do in a browser.
// Guarantees: only the console's own scripts and styles run; the page talks only to the console and the push nodes.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";

/** @param nodeUrls where the page may open sockets */
export function addPageHeaders(app: HttpApp, nodeUrls: readonly string[]): void {
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src 'self' ${[...new Set(nodeUrls.map((url) => new URL(url).origin))].join(" ")}`.trimEnd(),
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  app.addHook("onSend", async (_request, reply) => {
    void reply.headers({
      "content-security-policy": policy,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    });
  });
}
