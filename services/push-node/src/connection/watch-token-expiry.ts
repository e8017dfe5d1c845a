// {open-connection, renew-token, watch-connections} -> here: whether the token that a connection lives under comes to its
// end.
// Guarantees: whoever is welcome is told before, once for each token, with 30 s left or at once where it has less; at the
// end it is closed with 4401; nobody is welcome whose token is over.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { VerifiedToken } from "@petrel/shared/security/tokens/verified-token";
import type { Connection } from "./connection.js";

const NOTICE_MS = 30_000;

/**
 * A check lets a token pass for some seconds after its end, for clocks that differ. A connection would be closed in the
 * same moment, and might have taken the place of another until then.
 * @throws PetrelError PETREL_TOKEN_EXPIRED
 */
export function requireTimeLeft({ expiresAtMs }: VerifiedToken, wallMs: number): void {
  if (expiresAtMs > wallMs) return;
  throw new PetrelError("PETREL_TOKEN_EXPIRED", "The token is over: get a fresh one.");
}

/** @param wallMs now, milliseconds since 1970 UTC */
export function watchTokenExpiry(connection: Connection, wallMs: number): void {
  const leftMs = connection.tokenExpiresAtMs - wallMs;
  if (leftMs > NOTICE_MS || !connection.isOpen) return;
  if (leftMs <= 0) {
    connection.fail(closeCodes.tokenBad, "PETREL_TOKEN_EXPIRED", "The token's time is over.", "refresh");
    return;
  }
  // Before `welcome` a client heeds nothing but errors.
  if (connection.expiryAnnounced || connection.phase === "registering") return;
  connection.expiryAnnounced = true;
  connection.send({ type: "token_expiring", inSeconds: Math.ceil(leftMs / 1000) });
}
