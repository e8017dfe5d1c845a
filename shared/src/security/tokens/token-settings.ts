// auth's and push-node's configuration -> here -> trusted-issuers: whose tokens are good. Both services read the same
// variables.
import { flag, integer, list, optionalText, text } from "../../kernel/config.js";
import { MAX_SKEW_SECONDS } from "./verify-token.js";

/** Spread these into a service's schema; `readTrustedIssuers` interprets them. */
export const tokenSettings = {
  tokenIssuer: text("TOKEN_ISSUER", "the `iss` claim of users' tokens", { default: "petrel" }),
  tokenAudience: text("TOKEN_AUDIENCE", "the `aud` claim of users' tokens", { default: "petrel" }),
  tokenClockSkewSeconds: integer(
    "TOKEN_CLOCK_SKEW_SECONDS",
    "by how much the clocks of those who make and those who check tokens may differ; auth allows its own tokens none",
    { default: 5, max: MAX_SKEW_SECONDS },
  ),
  trustOwnTokens: flag(
    "TRUST_OWN_TOKENS",
    "whether tokens that auth makes are good, beside those of others",
    {
      default: true,
    },
  ),
  tokenHs256SecretFile: optionalText(
    "TOKEN_HS256_SECRET_FILE",
    "file with a secret of 32 bytes or more by which a business system signs users' tokens itself (HS256); whoever " +
      "can read it can be any user",
  ),
  tokenHs256KeyId: text("TOKEN_HS256_KEY_ID", "the `kid` that the header of those tokens must have", {
    default: "hs256",
  }),
  externalIssuer: optionalText(
    "EXTERNAL_ISSUER",
    "the `iss` claim of another issuer whose tokens are good here, such as an identity provider's",
  ),
  externalJwksUrl: optionalText(
    "EXTERNAL_JWKS_URL",
    "where that issuer publishes its keys: https, or http to this machine",
  ),
  externalAudience: optionalText("EXTERNAL_AUDIENCE", "the `aud` claim that its tokens must have"),
  externalUserClaim: text("EXTERNAL_USER_CLAIM", "the claim of its tokens that is our user id", {
    default: "sub",
  }),
  externalTokenTypes: list(
    "EXTERNAL_TOKEN_TYPES",
    "what the header `typ` of its tokens may be; an issuer that says `JWT` of all it makes needs a separate audience",
    { default: ["at+jwt"] },
  ),
} as const;
