// What auth reads from its environment.
// Guarantees: validated and frozen by the kernel; docs/configuration.md is made from this schema.
import { commonSettings, optionalText, portSetting, redisSettings, text } from "@petrel/shared/kernel/config";

export const authConfigSchema = {
  ...commonSettings,
  ...redisSettings,
  port: portSetting(7101),
  tokenIssuer: text("TOKEN_ISSUER", "the `iss` claim of users' tokens", { default: "petrel" }),
  tokenAudience: text("TOKEN_AUDIENCE", "the `aud` claim of users' tokens", { default: "petrel" }),
  keyEncryptionFile: text(
    "KEY_ENCRYPTION_FILE",
    "file with 32 bytes as base64 (`openssl rand -base64 32`): seals private keys in Redis",
  ),
  producerKeysFile: optionalText(
    "PRODUCER_KEYS_FILE",
    "JSON file of producer keys, `[{ id, owner, name, scopes, secretSha256 }]`, taken over at the start",
  ),
} as const;
