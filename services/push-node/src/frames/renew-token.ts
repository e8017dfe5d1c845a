// browser -> handle-frame -> here: a fresh token for the same user; the connection goes on under it.
// Guarantees: of several the newest counts; a token that was revoked is refused (4403), also where that happens while it
// is being checked: from the moment it is verified, what revokes it closes the connection.
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { describeError } from "@petrel/shared/kernel/errors";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { VerifiedToken, VerifyToken } from "@petrel/shared/security/tokens/verified-token";
import { closeRevoked } from "../connection/close-revoked.js";
import type { Connection, TokenRenewal } from "../connection/connection.js";
import { failAuthentication, isUnavailable } from "../connect/fail-authentication.js";
import { routeTokenOf } from "../connect/route-token-of.js";
import { requireTimeLeft } from "../connection/watch-token-expiry.js";

export interface RenewTokenDeps {
  readonly verifyToken: VerifyToken;
  /** Rejects where that is not known now. */
  readonly isRevoked: (token: VerifiedToken) => Promise<boolean>;
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
      // Before the check: a revocation that comes after it is heard for this token too.
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
      connection.send({
        type: "token_accepted",
        expiresIn: Math.max(0, Math.floor((token.expiresAtMs - Date.now()) / 1000)),
      });
    } catch (error) {
      refuse(deps, connection, isOver(), error);
    } finally {
      if (connection.renewal === renewal) connection.renewal = undefined;
    }
    // The subscription was lost meanwhile: nobody may have heard of a revocation.
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
  // The token that the connection came with is good until it ends: no reason to close.
  connection.send({
    type: "error",
    code: "PETREL_UNAVAILABLE",
    message: "The token cannot be checked now.",
    action: "backoff",
    ref: "token",
    on: "token",
  });
}
