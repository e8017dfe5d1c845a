// A page's script -> here -> the routes that browsers call: which origins may read the answers (CORS).
// Guarantees: only listed routes allow cross-origin reads, and only for ALLOWED_ORIGINS. Cookies and other browser
// credentials are never accepted. Other clients see no difference.
// Fetch Standard, section 3.2: https://fetch.spec.whatwg.org/#http-cors-protocol
import { errorSchema } from "@petrel/shared/kernel/http/error-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import type { MatchOrigin } from "@petrel/shared/security/requests/match-origin";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

/** What pages may call, with a user's token or without one. */
const openToPages: ReadonlyMap<string, string> = new Map([
  ["/v1/tokens/refresh", "POST"],
  ["/v1/tokens/revoke", "POST"],
  ["/v1/tickets", "POST"],
  ["/v1/devices", "GET, PUT"],
  ["/v1/devices/:id", "DELETE"],
]);
/** Public keys are for everyone. */
const openToAll: ReadonlySet<string> = new Set(["/.well-known/jwks.json", "/v1/web-push-key"]);

const PREFLIGHT_SECONDS = 600;
const EXPOSED = "x-request-id, retry-after, ratelimit, ratelimit-policy, www-authenticate";

/** Call before the routes. */
export function answerBrowsers(app: HttpApp, matchOrigin: MatchOrigin): void {
  app.addHook("onRequest", async (request, reply) => {
    const path = request.routeOptions.url ?? "";
    const { origin, host } = request.headers;
    if (openToAll.has(path)) {
      void reply.header("access-control-allow-origin", "*");
      return;
    }
    if (!openToPages.has(path)) return;
    void reply.header("vary", "origin");
    if (origin === undefined || !matchOrigin(origin, host)) return;
    void reply.header("access-control-allow-origin", origin).header("access-control-expose-headers", EXPOSED);
  });

  for (const [path, methods] of openToPages) {
    app.options(
      path,
      {
        // The query does not matter here; the actual request is checked.
        schema: {
          hide: true,
          response: { 204: Type.Null(), 403: errorSchema },
        },
      },
      async (request, reply) => {
        const { origin, host } = request.headers;
        if (origin === undefined || !matchOrigin(origin, host)) {
          throw new PetrelError("PETREL_ORIGIN_REFUSED", "This page's origin is not allowed.");
        }
        return reply
          .code(204)
          .header("access-control-allow-methods", methods)
          .header("access-control-allow-headers", "authorization, content-type, x-request-id")
          .header("access-control-max-age", String(PREFLIGHT_SECONDS))
          .send(null);
      },
    );
  }
}
