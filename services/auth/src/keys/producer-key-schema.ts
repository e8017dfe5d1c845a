// How a producer's key looks in requests, answers and the key file.
// Guarantees: only the key file has a field for a secret's hash. Only the key file and the answer that creates a secret
// have a field for the secret.
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import { producerScopes } from "@petrel/shared/protocol/producer-scopes";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { PRODUCER_KEY_ID_PATTERN } from "@petrel/shared/security/producers/producer-keys";
import type { Static } from "typebox";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { ProducerKeyRecord } from "@petrel/shared/redis/producers/producer-keys-store";

const closed = { additionalProperties: false } as const;

export const keyIdSchema = Type.String({ pattern: PRODUCER_KEY_ID_PATTERN });
export const ownerSchema = Type.String({
  pattern: USER_ID_PATTERN,
  description: "The business system behind the key; its idempotency keys are shared by all its keys.",
});
export const keyNameSchema = Type.String({
  pattern: "^[^\\u0000-\\u001f\\u007f]{1,128}$",
  description: "What the key is for; human-readable.",
});
export const scopesSchema = Type.Array(Type.Enum([...producerScopes]), {
  minItems: 1,
  maxItems: producerScopes.length,
  uniqueItems: true,
});
export const requireSchema = Type.Literal("signature", {
  description: "The key's requests must be signed: its secret alone, in Authorization, is refused.",
});
export const messagesPerSecondSchema = Type.Union(
  [Type.Integer({ minimum: 0, maximum: 1_000_000_000 }), Type.Literal("unlimited")],
  {
    description:
      'The key\'s own limit instead of the common one: a number of messages, 0 for none, or "unlimited".',
  },
);
const timeSchema = Type.String({ description: "RFC 3339, UTC." });

export const keyParamsSchema = Type.Object({ id: keyIdSchema }, closed);

const viewMembers = {
  id: keyIdSchema,
  name: Type.String(),
  owner: Type.String(),
  scopes: scopesSchema,
  signing: Type.Boolean({ description: "Whether the key may sign its requests." }),
  require: Type.Optional(requireSchema),
  messagesPerSecond: Type.Optional(messagesPerSecondSchema),
  createdAt: timeSchema,
  rotatedAt: Type.Optional(timeSchema),
  formerUntil: Type.Optional(
    Type.String({ description: "RFC 3339, UTC: until then, the secret from before a rotation also works." }),
  ),
  revokedAt: Type.Optional(timeSchema),
  suspendedAt: Type.Optional(
    Type.String({
      description: "RFC 3339, UTC: when the key was suspended; its requests are refused until it is resumed.",
    }),
  ),
};

export const keyViewSchema = Type.Object(viewMembers, { ...closed, title: "ProducerKey" });

export const keyWithSecretSchema = Type.Object(
  {
    ...viewMembers,
    secret: Type.String({
      description:
        "Shown only this once. auth keeps a hash, and for a key that may sign also the encrypted secret.",
    }),
  },
  { ...closed, title: "ProducerKeyWithSecret" },
);

/** Either the secret's hash, or the secret itself, which allows the key to sign. */
export const keyFileSchema = Type.Array(
  Type.Object(
    {
      id: keyIdSchema,
      owner: ownerSchema,
      name: keyNameSchema,
      scopes: scopesSchema,
      secretSha256: Type.Optional(Type.String({ pattern: "^[0-9a-f]{64}$" })),
      // 256 random bits take at least this many characters in any common encoding.
      secret: Type.Optional(Type.String({ pattern: "^[!-~]{43,256}$" })),
      require: Type.Optional(requireSchema),
      messagesPerSecond: Type.Optional(messagesPerSecondSchema),
    },
    closed,
  ),
);

export type KeyFile = Static<typeof keyFileSchema>;
export type KeyView = Static<typeof keyViewSchema>;

/**
 * A stored key, without its secrets.
 * @param nowMs wall clock
 */
export function viewKey(record: ProducerKeyRecord, nowMs: number): KeyView {
  const { id, name, owner, scopes, sealedSecret, require, messagesPerSecond, former = [] } = record;
  const { createdAt, rotatedAt, revokedAt, suspendedAt } = record;
  const formerUntilMs = Math.max(...former.map(({ untilMs }) => untilMs), 0);
  return {
    id,
    name,
    owner,
    scopes: [...scopes],
    signing: sealedSecret !== undefined,
    ...(require === undefined ? {} : { require }),
    ...(messagesPerSecond === undefined ? {} : { messagesPerSecond }),
    createdAt,
    ...(rotatedAt === undefined ? {} : { rotatedAt }),
    ...(formerUntilMs > nowMs ? { formerUntil: formatTime(formerUntilMs) } : {}),
    ...(revokedAt === undefined ? {} : { revokedAt }),
    ...(suspendedAt === undefined ? {} : { suspendedAt }),
  };
}
