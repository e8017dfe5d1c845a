// push-node/start-push-node -> here: opens this room: the check of user tokens, with its gauges and certificates.
import type { Service } from "@petrel/shared/service/open-service";
import { addTokenCacheMetrics, addTokenGauges } from "@petrel/shared/security/tokens/token-metrics";
import {
  createTokenVerification,
  type TokenVerification,
  type VerificationSettings,
} from "./token-verification.js";

/** @throws ConfigError if the settings do not fit together, or a file cannot be read */
export function openTokens(
  settings: VerificationSettings,
  { logger, metrics, certificates }: Pick<Service, "logger" | "metrics" | "certificates">,
): Pick<TokenVerification, "verifyToken" | "check"> {
  const verification = createTokenVerification(settings, logger);
  certificates.watch(...verification.certificates);
  addTokenGauges(metrics, verification.sources);
  if (verification.cache !== undefined) addTokenCacheMetrics(metrics, verification.cache);
  return verification;
}
