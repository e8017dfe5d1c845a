// push-node/connect/open-connection, push-node/frames/renew-token -> here: the parts of its token that a connection
// keeps.
// Guarantees: only what a revocation can name.
import type { RouteToken } from "@petrel/shared/redis/routes/route-token";
import type { VerifiedToken } from "@petrel/shared/security/tokens/verified-token";

export function routeTokenOf({ generation, sessionId, jti, formerNames }: VerifiedToken): RouteToken {
  return {
    generation,
    sessionId: sessionId ?? "",
    jti,
    ...(formerNames === undefined ? {} : { formerNames }),
  };
}
