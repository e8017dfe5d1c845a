// push-node: how this node checks user tokens, as configured.
// Guarantees: with "jwks" no request leaves the node for a token, but for fetching public keys now and then. Whether a
// good token was revoked is not asked here, but in the script that registers its connection.
import { readFileSync } from "node:fs";
import { openClientTls } from "@petrel/shared/kernel/client-tls-files";
import { ConfigError } from "@petrel/shared/kernel/config";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging";
import { createIntrospectToken } from "@petrel/shared/security/introspect-token";
import { JwksCache, jwksUrlOf } from "@petrel/shared/security/jwks-cache";
import {
  createTrustedVerification,
  readTrustRules,
  type TokenSettings,
} from "@petrel/shared/security/trusted-issuers";
import type { VerifyToken } from "@petrel/shared/security/verified-token";
import type { PushNodeConfig } from "./config.js";

type VerificationSettings = TokenSettings &
  Pick<
    PushNodeConfig,
    "authUrl" | "authCaFile" | "authCertFile" | "authKeyFile" | "verifyTokens" | "introspectKeyFile"
  >;

/** @throws ConfigError where the settings do not fit together, or a file cannot be read */
export function createTokenVerification(settings: VerificationSettings, logger: Logger): VerifyToken {
  const { authUrl, verifyTokens, introspectKeyFile } = settings;
  const tls = openClientTls({
    caFile: settings.authCaFile,
    certFile: settings.authCertFile,
    keyFile: settings.authKeyFile,
    logger,
  });
  if (verifyTokens === "introspect") {
    if (introspectKeyFile === undefined) {
      throw new ConfigError("VERIFY_TOKENS=introspect needs INTROSPECT_KEY_FILE");
    }
    // Which tokens are good is auth's to say, those of other issuers too.
    return createIntrospectToken({ authUrl, credential: readCredential(introspectKeyFile), tls });
  }
  const ownKeys = new JwksCache({ url: jwksUrlOf(authUrl), logger, tls });
  return createTrustedVerification(readTrustRules(settings), { findOwnKey: ownKeys.findKey, logger });
}

function readCredential(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new ConfigError(`INTROSPECT_KEY_FILE cannot be read: ${describeError(error)}`);
  }
}
