// create-token, refresh-token -> here: the pair of tokens that a user's client works with.
// Guarantees: the access token carries its session and the user's generation, so revoking either ends it. Only a hash
// of the refresh token is stored.
import type { SessionContent } from "@petrel/shared/redis/auth/sessions-store";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { RefreshToken } from "@petrel/shared/security/tokens/refresh-token";
import type { SignToken } from "@petrel/shared/security/tokens/sign-token";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { SigningKeyring } from "../keys/signing-keyring.js";

export interface IssueTokensDeps {
  readonly keyring: SigningKeyring;
  readonly signToken: SignToken;
  /** TRUST_OWN_TOKENS: whether the cluster accepts tokens that auth makes. */
  readonly trustOwnTokens: boolean;
}

export const tokenPairSchema = Type.Object(
  {
    accessToken: Type.String({ description: "A compact JWT, for push nodes and the user's own requests." }),
    refreshToken: Type.String({ description: "Opaque. Works once, for POST /v1/tokens/refresh." }),
    expiresIn: Type.Integer({ description: "Seconds until the access token expires." }),
    tokenType: Type.Literal("Bearer"),
  },
  { title: "TokenPair", additionalProperties: false },
);

/** @throws PetrelError PETREL_CONFLICT if no service accepts tokens that auth makes */
export function requireOwnTokens({ trustOwnTokens }: IssueTokensDeps): void {
  if (trustOwnTokens) return;
  throw new PetrelError(
    "PETREL_CONFLICT",
    "This cluster only trusts other issuers (TRUST_OWN_TOKENS): get tokens from them.",
  );
}

/** @param content the session's */
export function issueTokens(
  { keyring, signToken }: IssueTokensDeps,
  refreshToken: RefreshToken,
  generation: number,
  content: SessionContent,
) {
  const { userId, sessionId, text } = refreshToken;
  const { token } = signToken(keyring.active, { userId, sessionId, generation, ...content });
  return {
    accessToken: token,
    refreshToken: text,
    expiresIn: content.ttlSeconds,
    tokenType: "Bearer" as const,
  };
}
