// auth's start: read-producer-keys-file -> here -> producer-keys-store: the keys that come with an installation.
// Guarantees: a secret from the file is stored only sealed. A revoked key stays revoked. Every change is audited.
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import type { AtRestCipher } from "@petrel/shared/security/encrypt-at-rest";
import { sealProducerSecret } from "@petrel/shared/security/producers/seal-producer-secret";
import type { FileKey } from "./read-producer-keys-file.js";

export interface TakeOverKeyFileDeps {
  readonly producerKeys: ProducerKeysStore;
  readonly cipher: AtRestCipher;
  readonly audit: AuditLog;
  readonly logger: Logger;
}

/** @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer */
export async function takeOverKeyFile(
  keys: readonly FileKey[],
  { producerKeys, cipher, audit, logger }: TakeOverKeyFileDeps,
): Promise<void> {
  for (const { secret, ...key } of keys) {
    const { record, change } = await producerKeys.upsertFromFile(
      {
        ...key,
        ...(secret === undefined ? {} : { sealedSecret: sealProducerSecret(cipher, key.id, secret) }),
      },
      new Date(),
    );
    const { id, owner, revokedAt } = record;
    if (revokedAt !== undefined) logger.warn({ keyId: id, revokedAt }, "a key in the key file stays revoked");
    if (change === "none") continue;
    await audit.record({
      actor: "file",
      action: change === "created" ? "key.create" : "key.update",
      target: id,
      details: { owner, scopes: record.scopes.join(" ") },
    });
  }
}
