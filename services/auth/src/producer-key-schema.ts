// How a producer's key looks in requests, answers and the key file.
// Guarantees: no shape here but the key file's has a place for a secret's hash; the secret itself has one only where
// it is made.
import { producerScopes } from "@petrel/shared/protocol/producer-scopes";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/ids";
import { PRODUCER_KEY_ID_PATTERN } from "@petrel/shared/security/producer-keys";
import { Type } from "typebox";
import type { ProducerKeyRecord } from "@petrel/shared/redis/producer-keys-store";

const closed = { additionalProperties: false } as const;

export const keyIdSchema = Type.String({ pattern: PRODUCER_KEY_ID_PATTERN });
export const ownerSchema = Type.String({
  pattern: USER_ID_PATTERN,
  description: "The business system behind the key; its idempotency keys are shared by all its keys.",
});
export const keyNameSchema = Type.String({
  pattern: "^[^\\u0000-\\u001f\\u007f]{1,128}$",
  description: "For people: what the key is for.",
});
export const scopesSchema = Type.Array(Type.Enum([...producerScopes]), {
  minItems: 1,
  maxItems: producerScopes.length,
  uniqueItems: true,
});
const timeSchema = Type.String({ description: "RFC 3339, UTC." });

export const keyParamsSchema = Type.Object({ id: keyIdSchema }, closed);

const viewMembers = {
  id: keyIdSchema,
  name: Type.String(),
  owner: Type.String(),
  scopes: scopesSchema,
  createdAt: timeSchema,
  rotatedAt: Type.Optional(timeSchema),
  revokedAt: Type.Optional(timeSchema),
};

export const keyViewSchema = Type.Object(viewMembers, closed);

export const keyWithSecretSchema = Type.Object(
  {
    ...viewMembers,
    secret: Type.String({ description: "Shown this once; only its hash is kept." }),
  },
  closed,
);

export const keyFileSchema = Type.Array(
  Type.Object(
    {
      id: keyIdSchema,
      owner: ownerSchema,
      name: keyNameSchema,
      scopes: scopesSchema,
      secretSha256: Type.String({ pattern: "^[0-9a-f]{64}$" }),
    },
    closed,
  ),
);

export type KeyView = Omit<ProducerKeyRecord, "secretSha256" | "scopes"> & {
  scopes: ProducerKeyRecord["scopes"][number][];
};

/** A stored key without its hash. */
export function viewKey({ secretSha256: _hidden, scopes, ...rest }: ProducerKeyRecord): KeyView {
  return { ...rest, scopes: [...scopes] };
}
