// Reads the file of producer keys that come with an installation, at the start.
// Guarantees: all entries are good or none is taken; what is wrong is said by its place in the file, never with a hash.
import { readFileSync } from "node:fs";
import { ConfigError } from "@petrel/shared/kernel/config";
import { describeError } from "@petrel/shared/kernel/errors";
import type { NewProducerKey } from "@petrel/shared/redis/producer-keys-store";
import { Value } from "typebox/value";
import { keyFileSchema } from "./producer-key-schema.js";

/**
 * @param file a JSON array of `{ id, owner, name, scopes, secretSha256 }`, the last 64 lower-case hex characters
 * @throws ConfigError
 */
export function readProducerKeysFile(file: string): readonly NewProducerKey[] {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    // A parser's message quotes the text it stumbles over.
    const reason = error instanceof SyntaxError ? "not JSON" : describeError(error);
    throw new ConfigError(`PRODUCER_KEYS_FILE cannot be read: ${reason}`);
  }
  if (!Value.Check(keyFileSchema, content)) {
    const [first] = Value.Errors(keyFileSchema, content);
    throw new ConfigError(
      `PRODUCER_KEYS_FILE is wrong at ${first?.instancePath || "/"}: ${first?.message ?? "invalid"}`,
    );
  }
  const ids = new Set<string>();
  for (const { id } of content) {
    if (ids.has(id)) throw new ConfigError(`PRODUCER_KEYS_FILE has the key ${id} twice`);
    ids.add(id);
  }
  return content;
}
