// push-node/connect/open-connection, push-node/connection/watch-connections -> here: does a connection's token expire
// soon?
// Guarantees: a client is told once for each token, 30 s before its end, or at once if less is left. At the end its
// connection is closed with 4401. An expired token gets no welcome.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { VerifiedToken } from "@petrel/shared/security/tokens/verified-token";
import type { Connection } from "./connection.js";

const NOTICE_MS = 30_000;

/**
 * Verification accepts a token for some seconds after its expiry, because clocks differ. Its connection would be closed
 * at once, but might have replaced another by then.
 * @throws PetrelError PETREL_TOKEN_EXPIRED
 */
export function requireTimeLeft({ expiresAtMs }: VerifiedToken, wallMs: number): void {
  if (expiresAtMs > wallMs) return;
  throw new PetrelError("PETREL_TOKEN_EXPIRED", "The token has expired: get a fresh one.");
}

/** Whether there may be something to do for it. */
export function endsSoon({ tokenExpiresAtMs }: Connection, wallMs: number): boolean {
  return tokenExpiresAtMs - wallMs <= NOTICE_MS;
}

/** @param wallMs now, milliseconds since 1970 UTC */
export function watchTokenExpiry(connection: Connection, wallMs: number): void {
  const leftMs = connection.tokenExpiresAtMs - wallMs;
  if (!endsSoon(connection, wallMs) || !connection.isOpen) return;
  if (leftMs <= 0) {
    connection.fail(closeCodes.tokenBad, "PETREL_TOKEN_EXPIRED", "The token has expired.", "refresh");
    return;
  }
  // Before `welcome` a client ignores everything but errors.
  if (connection.expiryAnnounced || connection.phase === "registering") return;
  connection.expiryAnnounced = true;
  connection.send({ type: "token_expiring", inSeconds: Math.ceil(leftMs / 1000) });
}
