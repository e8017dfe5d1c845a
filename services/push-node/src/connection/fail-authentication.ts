// push-node/connect/open-connection, push-node/frames/renew-token -> here: closes for a credential that fails.
// Guarantees: 4401 if another credential may succeed, 4403 for a revoked one, 1013 if it could not be checked.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import { closeRevoked } from "./close-revoked.js";
import type { Connection } from "./connection.js";

export function failAuthentication(connection: Pick<Connection, "fail">, error: unknown): void {
  if (!(error instanceof PetrelError) || isUnavailable(error)) {
    connection.fail(
      closeCodes.tryAgainLater,
      "PETREL_UNAVAILABLE",
      "The credential cannot be checked now.",
      "resume",
    );
  } else if (error.code === "PETREL_TOKEN_REVOKED") {
    closeRevoked(connection);
  } else {
    connection.fail(closeCodes.tokenBad, error.code, error.message, "refresh");
  }
}

/** Whether the check itself failed, which says nothing about the credential. */
export function isUnavailable(error: unknown): boolean {
  return !(error instanceof PetrelError) || error.status >= 500;
}
