// auth's and push-node's configuration -> here -> trusted-issuers: whose tokens are accepted. Both services read the
// same variables.
import { flag, integer, list, optionalText, text } from "../../kernel/config.js";
import { MAX_SKEW_SECONDS } from "./verify-token.js";

/** Spread these into a service's schema; `readTrustedIssuers` interprets them. */
export const tokenSettings = {
  tokenIssuer: text("TOKEN_ISSUER", "the `iss` claim of users' tokens", { default: "petrel" }),
  tokenAudience: text("TOKEN_AUDIENCE", "the `aud` claim of users' tokens", { default: "petrel" }),
  tokenClockSkewSeconds: integer(
    "TOKEN_CLOCK_SKEW_SECONDS",
    "clock difference allowed between the issuer and the verifier of a token; auth allows none for its own tokens",
    { default: 5, max: MAX_SKEW_SECONDS },
  ),
  trustOwnTokens: flag(
    "TRUST_OWN_TOKENS",
    "whether tokens issued by auth are accepted, beside those of other issuers",
    {
      default: true,
    },
  ),
  tokenHs256SecretFile: optionalText(
    "TOKEN_HS256_SECRET_FILE",
    "file with a secret of at least 32 bytes with which a business system signs users' tokens itself (HS256); anyone who can read it can impersonate any user",
  ),
  tokenHs256KeyId: text("TOKEN_HS256_KEY_ID", "the `kid` that these tokens must have in their header", {
    default: "hs256",
  }),
  externalIssuer: optionalText(
    "EXTERNAL_ISSUER",
    "the `iss` claim of another trusted issuer, such as an identity provider",
  ),
  externalJwksUrl: optionalText(
    "EXTERNAL_JWKS_URL",
    "URL of that issuer's keys: https, or http to this machine",
  ),
  externalAudience: optionalText("EXTERNAL_AUDIENCE", "the `aud` claim that its tokens must have"),
  externalUserClaim: text("EXTERNAL_USER_CLAIM", "the claim that holds the user id", {
    default: "sub",
  }),
  externalTokenTypes: list(
    "EXTERNAL_TOKEN_TYPES",
    "allowed values of the `typ` header; an issuer that uses `JWT` for everything needs a separate audience",
    { default: ["at+jwt"] },
  ),
} as const;
