// Before a request's body is read: which user is this?
// Guarantees: a route that has this hook runs for the holder of a good token of ours only; a revoked one is refused at
// once; a stranger learns nothing of what the body should be.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpRequest } from "@petrel/shared/kernel/http-app";
import type { TokenGenerationStore } from "@petrel/shared/redis/token-generation-store";
import type { VerifyToken } from "@petrel/shared/security/verified-token";

export interface AuthorizeUserDeps {
  readonly verifyToken: VerifyToken;
  readonly generations: TokenGenerationStore;
}

const DECORATOR = "userId";
const bearer = /^Bearer +(\S+)$/i;

interface Decoratable {
  decorateRequest(name: string, value: null): unknown;
}

/** Call once per application, before the routes. */
export function decorateWithUser(app: Decoratable): void {
  app.decorateRequest(DECORATOR, null);
}

/** @returns an `onRequest` hook; it rejects with a 401 of the catalogue, or 503 where Redis does not answer */
export function authorizeUser({ verifyToken, generations }: AuthorizeUserDeps) {
  return async (request: HttpRequest): Promise<void> => {
    const token = bearer.exec(request.headers.authorization ?? "")?.[1];
    if (token === undefined) {
      throw new PetrelError(
        "PETREL_UNAUTHENTICATED",
        "Send Authorization: Bearer <the user's access token>.",
      );
    }
    const { userId, generation } = await verifyToken(token);
    if (generation < (await generations.read(userId))) {
      throw new PetrelError("PETREL_TOKEN_INVALID", "The token was revoked.");
    }
    request.setDecorator(DECORATOR, userId);
  };
}

/** Who sent a request that has passed `authorizeUser`. */
export function userOf(request: HttpRequest): string {
  return request.getDecorator<string>(DECORATOR);
}
