// Reads the file of producer keys that come with an installation, at the start.
// Guarantees: one bad entry refuses the whole file. The error gives the entry's place in the file, never a hash or a
// secret.
import { readFileSync } from "node:fs";
import { ConfigError } from "@petrel/shared/kernel/config";
import { describeError } from "@petrel/shared/kernel/errors";
import type { NewProducerKey } from "@petrel/shared/redis/producers/producer-keys-store";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
import { Ajv } from "ajv";
import { keyFileSchema, type KeyFile } from "./producer-key-schema.js";

/** A key from the file. With `secret` it may sign; the secret is stored sealed. */
export interface FileKey extends Omit<NewProducerKey, "sealedSecret"> {
  readonly secret?: string;
}

/**
 * @param file a JSON array of `{ id, owner, name, scopes, secretSha256 | secret, require?, messagesPerSecond? }`:
 * `secretSha256` 64 lower-case hex characters; `secret` at least 43, of a key that may sign
 * @throws ConfigError
 */
export function readProducerKeysFile(file: string): readonly FileKey[] {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    // The parser's own message would quote the text at fault.
    const reason = error instanceof SyntaxError ? "not JSON" : describeError(error);
    throw new ConfigError(`PRODUCER_KEYS_FILE cannot be read: ${reason}`);
  }
  // Ajv is Fastify's validator and is loaded for the first request anyway.
  const isKeyFile = new Ajv({ validateSchema: false }).compile(keyFileSchema);
  if (!isKeyFile(content)) {
    const [fault] = isKeyFile.errors ?? [];
    throw new ConfigError(
      `PRODUCER_KEYS_FILE is wrong at ${fault?.instancePath || "/"}: ${fault?.message ?? ""}`,
    );
  }
  const ids = new Set<string>();
  return (content as KeyFile).map((entry, i) => {
    const { secret, secretSha256, ...rest } = entry;
    const { id, require } = rest;
    if (ids.has(id)) throw new ConfigError(`PRODUCER_KEYS_FILE has the key ${id} twice`);
    ids.add(id);
    const wrong = (why: string): never => {
      throw new ConfigError(`PRODUCER_KEYS_FILE is wrong at /${i}: ${why}`);
    };
    if (rest.messagesPerSecond === 0) {
      // Up to the last release it meant no limit; now it could mean either, so refuse it.
      wrong('messagesPerSecond is 0: use "unlimited", or omit the scope send if the key may send nothing');
    }
    if (secret !== undefined) {
      if (secretSha256 !== undefined) wrong("it has both secret and secretSha256");
      return { ...rest, secret, secretSha256: hashProducerSecret(secret) };
    }
    if (require !== undefined) wrong("a key that must sign needs its secret, not its hash");
    return { ...rest, secretSha256: secretSha256 ?? wrong("it has neither secret nor secretSha256") };
  });
}
