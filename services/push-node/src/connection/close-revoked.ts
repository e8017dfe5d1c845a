// {receive-envelopes, register-connection} -> here: closes what lives under a token that was revoked.
// Guarantees: 4403; a connection that is about to live under a fresh token counts as living under both.
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { RouteToken } from "@petrel/shared/redis/nodes/route-store";
import type { Connection } from "./connection.js";
import type { ConnectionRegistry } from "./connection-registry.js";

/** Whether one of a connection's tokens is meant: the one it lives under, or the one that is being checked. */
export function livesUnder(connection: Connection, isMeant: (token: RouteToken) => boolean): boolean {
  const fresh = connection.renewal?.token;
  return isMeant(connection.token) || (fresh !== undefined && isMeant(fresh));
}

export function closeRevoked(connection: Pick<Connection, "fail">): void {
  connection.fail(
    closeCodes.revoked,
    "PETREL_TOKEN_REVOKED",
    "The token was revoked, or its session, or all of this user's: sign in again.",
    "stop",
  );
}

export function closeErased(connection: Connection): void {
  connection.fail(closeCodes.revoked, "PETREL_USER_ERASED", "This user was erased.", "stop");
}

/**
 * Whose a revoked token is nobody knows, so that all connections are looked at; and each partition says the same: what
 * comes within a turn is looked for together.
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
