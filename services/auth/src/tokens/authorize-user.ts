// Before a request's body is read: which user is this?
// Guarantees: a route with this hook runs only for the holder of a valid token; a revoked one is refused at once.
// Strangers learn nothing about the body's schema.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpRequest } from "@petrel/shared/kernel/http/http-app";
import type { TokenRevocations } from "@petrel/shared/redis/auth/token-revocations";
import type { VerifiedToken, VerifyToken } from "@petrel/shared/security/tokens/verified-token";

export interface AuthorizeUserDeps {
  readonly verifyToken: VerifyToken;
  readonly revocations: TokenRevocations;
}

const DECORATOR = "userToken";
const bearer = /^Bearer +(\S+)$/i;

interface Decoratable {
  decorateRequest(name: string, value: null): unknown;
}

/** Call once per application, before the routes. */
export function decorateWithUser(app: Decoratable): void {
  app.decorateRequest(DECORATOR, null);
}

/** @returns an `onRequest` hook; it rejects with a 401 of the catalogue, or 503 if Redis does not answer */
export function authorizeUser({ verifyToken, revocations }: AuthorizeUserDeps) {
  return async (request: HttpRequest): Promise<void> => {
    const text = bearer.exec(request.headers.authorization ?? "")?.[1];
    if (text === undefined) {
      throw new PetrelError(
        "PETREL_UNAUTHENTICATED",
        "Send Authorization: Bearer <the user's access token>.",
      );
    }
    const token = await verifyToken(text);
    if (await revocations.isRevoked(token)) {
      throw new PetrelError("PETREL_TOKEN_REVOKED", "The token was revoked: sign in again.");
    }
    request.setDecorator(DECORATOR, token);
  };
}

/** The user of a request that has passed `authorizeUser`. */
export function userOf(request: HttpRequest): string {
  return tokenOf(request).userId;
}

/** The token's claims, of a request that has passed `authorizeUser`. */
export function tokenOf(request: HttpRequest): VerifiedToken {
  return request.getDecorator<VerifiedToken>(DECORATOR);
}

/** The token of a request that has passed `authorizeUser`; undefined if it was authorized in another way. */
export function tokenIfAny(request: HttpRequest): VerifiedToken | undefined {
  return request.getDecorator<VerifiedToken | null>(DECORATOR) ?? undefined;
}
