// A service's start: what its authenticate-producer needs to check signatures, if the service has the key for that.
// Guarantees: a service without it says so once, at its start.
import type { Logger } from "../../kernel/logging/logging.js";
import type { SpendNonce } from "./authenticate-signature.js";
import type { AtRestCipher } from "../encrypt-at-rest.js";
import type { OpenSecret } from "./known-producer-key.js";
import { openProducerSecret } from "./seal-producer-secret.js";

/** What it takes to check signatures. */
export interface SignatureChecks {
  readonly openSecret: OpenSecret;
  readonly spendNonce: SpendNonce;
  readonly logger: Logger;
}

/** @param cipher of the same KEY_ENCRYPTION_FILE as auth's; undefined if this service has none */
export function createSignatureChecks(
  cipher: AtRestCipher | undefined,
  spendNonce: SpendNonce,
  logger: Logger,
): SignatureChecks | undefined {
  if (cipher === undefined) {
    logger.warn("KEY_ENCRYPTION_FILE is not set: signed requests get 503 here");
    return undefined;
  }
  return { openSecret: (sealed) => openProducerSecret(cipher, sealed), spendNonce, logger };
}
