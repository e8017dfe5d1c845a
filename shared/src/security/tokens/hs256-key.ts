// push-node, auth -> here: the secret with which a business system signs users' tokens itself, if one is configured.
// Guarantees: at least 256 bits (RFC 7518 section 3.2); it comes from a file, is never published, and appears in no
// message.
import { createSecretKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { ConfigError } from "../../kernel/config.js";
import { describeError } from "../../kernel/errors.js";
import type { VerificationKey } from "./verify-token.js";

const MIN_BYTES = 32;

/**
 * @param file the secret's bytes as they are, except for one trailing line end
 * @param kid what the header of its tokens must name
 * @throws ConfigError
 */
export function readHs256Key(file: string, kid: string): VerificationKey {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new ConfigError(`TOKEN_HS256_SECRET_FILE cannot be read: ${describeError(error)}`);
  }
  const end = bytes.at(-1) === 0x0a ? (bytes.at(-2) === 0x0d ? -2 : -1) : bytes.length;
  const secret = bytes.subarray(0, end);
  if (secret.length < MIN_BYTES) {
    throw new ConfigError(
      `TOKEN_HS256_SECRET_FILE must hold ${MIN_BYTES} bytes or more (openssl rand -base64 48)`,
    );
  }
  if (secret.includes("-----BEGIN")) {
    // RFC 8725 section 2.1: anyone who has the public key could sign.
    throw new ConfigError(
      "TOKEN_HS256_SECRET_FILE holds a PEM: it must be a shared secret, not half of a key pair",
    );
  }
  return { kid, alg: "HS256", key: createSecretKey(secret) };
}
