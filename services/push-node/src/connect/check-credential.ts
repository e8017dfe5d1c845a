// push-node/connect/open-connection -> here: whose credential is this?
// Guarantees: a token with no time left is refused; a ticket works once.
import type { Clock } from "@petrel/shared/kernel/clock";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { VerifiedToken, VerifyToken } from "@petrel/shared/security/tokens/verified-token";
import { requireTimeLeft } from "../connection/watch-token-expiry.js";
import type { Handshake } from "./read-handshake.js";

export interface CheckCredentialDeps {
  readonly verifyToken: VerifyToken;
  /** Uses up the ticket. @returns undefined if it is unknown, expired or used */
  readonly redeemTicket: (ticket: string) => Promise<VerifiedToken | undefined>;
  readonly clock: Clock;
}

export type Credential = Exclude<Handshake["credential"], { readonly kind: "awaited" }>;

/** Rejects with a PetrelError if the credential is invalid, and with the store's error if Redis does not answer. */
export type CheckCredential = (
  credential: Credential,
  requestId: string | undefined,
) => Promise<VerifiedToken>;

export function createCheckCredential(deps: CheckCredentialDeps): CheckCredential {
  const { verifyToken, redeemTicket, clock } = deps;
  return async (credential, requestId) => {
    if (credential.kind === "token") {
      const token = await verifyToken(credential.token, requestId);
      requireTimeLeft(token, clock.wallMs());
      return token;
    }
    const token = await redeemTicket(credential.ticket);
    if (token !== undefined && token.expiresAtMs > clock.wallMs()) return token;
    throw new PetrelError(
      "PETREL_TICKET_INVALID",
      "The ticket is unknown, expired or already used: get a fresh one.",
    );
  };
}
