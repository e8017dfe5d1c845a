// push-node/frames/handle-frame -> here: a fresh token for the same user, under which the connection continues.
// Guarantees: the newest of several applies. A revoked token is refused (4403), even one that is revoked during the
// check: once it is verified, its revocation closes the connection.
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { describeError } from "@petrel/shared/kernel/errors";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { VerifiedToken, VerifyToken } from "@petrel/shared/security/tokens/verified-token";
import { closeRevoked } from "../connection/close-revoked.js";
import type { Connection, TokenRenewal } from "../connection/connection.js";
import { failAuthentication, isUnavailable } from "../connection/fail-authentication.js";
import { routeTokenOf } from "../connection/route-token-of.js";
import { requireTimeLeft } from "../connection/watch-token-expiry.js";

export interface RenewTokenDeps {
  readonly verifyToken: VerifyToken;
  /** Rejects if that cannot be determined now. */
  readonly isRevoked: (token: VerifiedToken) => Promise<boolean>;
  /** The token's topic rights may have changed. */
  readonly onRights: (connection: Connection) => void;
  /** Registers a connection again: see renew-leases. */
  readonly registerAgain: (connection: Connection) => Promise<void>;
  readonly logger: Logger;
}

export type RenewToken = (connection: Connection, token: string) => Promise<void>;

export function createRenewToken(deps: RenewTokenDeps): RenewToken {
  return async (connection, text) => {
    const renewal: TokenRenewal = { token: undefined };
    connection.renewal = renewal;
    const isOver = (): boolean => connection.renewal !== renewal || !connection.isOpen;
    try {
      const token = await deps.verifyToken(text);
      if (isOver()) return;
      if (token.userId !== connection.userId) {
        connection.fail(closeCodes.revoked, "PETREL_USER_CHANGED", "The token is for another user.", "stop");
        return;
      }
      requireTimeLeft(token, Date.now());
      // Before the check, so that a later revocation finds this token too.
      renewal.token = routeTokenOf(token);
      const isRevoked = await deps.isRevoked(token);
      if (isOver()) return;
      if (isRevoked) {
        closeRevoked(connection);
        return;
      }
      connection.token = renewal.token;
      connection.tokenExpiresAtMs = token.expiresAtMs;
      connection.expiryAnnounced = false;
      connection.grants = token.topics;
      connection.send({
        type: "token_accepted",
        expiresIn: Math.max(0, Math.floor((token.expiresAtMs - Date.now()) / 1000)),
      });
      deps.onRights(connection);
    } catch (error) {
      refuse(deps, connection, isOver(), error);
    } finally {
      if (connection.renewal === renewal) connection.renewal = undefined;
    }
    // The subscription was lost meanwhile, so a revocation may have been missed.
    if (connection.mustRegisterAgain) void deps.registerAgain(connection);
  };
}

function refuse({ logger }: RenewTokenDeps, connection: Connection, isOver: boolean, error: unknown): void {
  if (!isUnavailable(error)) {
    failAuthentication(connection, error);
    return;
  }
  logger.debug({ connection: connection.id, reason: describeError(error) }, "fresh token not checked");
  if (isOver) return;
  // The connection's present token is valid until its end: no reason to close.
  connection.send({
    type: "error",
    code: "PETREL_UNAVAILABLE",
    message: "The token cannot be checked now.",
    action: "backoff",
    ref: "token",
    on: "token",
  });
}
