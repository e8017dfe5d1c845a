// push-node/deliver/receive-envelopes, push-node/connect/register-connection -> here: closes connections whose token
// was revoked.
// Guarantees: 4403. A connection whose fresh token is being checked depends on both tokens.
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { RouteToken } from "@petrel/shared/redis/routes/route-token";
import type { Connection } from "./connection.js";
import type { ConnectionRegistry } from "./connection-registry.js";

/** Whether this concerns a connection's token, or the fresh one that is being checked. */
export function livesUnder(connection: Connection, isMeant: (token: RouteToken) => boolean): boolean {
  const fresh = connection.renewal?.token;
  return isMeant(connection.token) || (fresh !== undefined && isMeant(fresh));
}

export function closeRevoked(connection: Pick<Connection, "fail">): void {
  connection.fail(
    closeCodes.revoked,
    "PETREL_TOKEN_REVOKED",
    "The token, its session, or all of this user's tokens were revoked: sign in again.",
    "stop",
  );
}

export function closeErased(connection: Connection): void {
  connection.fail(closeCodes.revoked, "PETREL_USER_ERASED", "This user was erased.", "stop");
}

/**
 * A `jti` does not name its user, so every connection is checked. Every partition's channel repeats the same
 * revocation, so those of one turn are checked together.
 */
export function createRevokedTokens(registry: ConnectionRegistry): (jtis: readonly string[]) => void {
  let revoked = new Set<string>();
  const closeAll = (): void => {
    const jtis = revoked;
    revoked = new Set();
    for (const connection of registry.all()) {
      if (livesUnder(connection, (token) => isAnyOf(jtis, token))) closeRevoked(connection);
    }
  };
  return (jtis) => {
    if (revoked.size === 0 && jtis.length > 0) setImmediate(closeAll);
    for (const jti of jtis) revoked.add(jti);
  };
}

function isAnyOf(names: ReadonlySet<string>, { jti, formerNames }: RouteToken): boolean {
  return names.has(jti) || formerNames?.some((name) => names.has(name)) === true;
}
