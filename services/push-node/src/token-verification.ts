// push-node: how this node checks user tokens, as configured.
// Guarantees: with "jwks" no request leaves the node for a token, but for fetching auth's public keys now and then.
import { readFileSync } from "node:fs";
import { ConfigError } from "@petrel/shared/kernel/config";
import type { Logger } from "@petrel/shared/kernel/logging";
import { createIntrospectToken } from "@petrel/shared/security/introspect-token";
import { JwksCache } from "@petrel/shared/security/jwks-cache";
import type { VerifyToken } from "@petrel/shared/security/verified-token";
import { createVerifyToken } from "@petrel/shared/security/verify-token";
import type { PushNodeConfig } from "./config.js";

type VerificationSettings = Pick<
  PushNodeConfig,
  "authUrl" | "tokenIssuer" | "tokenAudience" | "verifyTokens" | "introspectKeyFile"
>;

/** @throws ConfigError where introspection is configured without a key */
export function createTokenVerification(settings: VerificationSettings, logger: Logger): VerifyToken {
  const { authUrl, tokenIssuer, tokenAudience, verifyTokens, introspectKeyFile } = settings;
  if (verifyTokens === "introspect") {
    if (introspectKeyFile === undefined) {
      throw new ConfigError("VERIFY_TOKENS=introspect needs INTROSPECT_KEY_FILE");
    }
    return createIntrospectToken({ authUrl, credential: readFileSync(introspectKeyFile, "utf8").trim() });
  }
  const keys = new JwksCache({ authUrl, logger });
  return createVerifyToken({
    issuer: tokenIssuer,
    audience: tokenAudience,
    findKey: (kid) => keys.findKey(kid),
  });
}
