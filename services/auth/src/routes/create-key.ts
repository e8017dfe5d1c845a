// POST /v1/keys: an administrator makes a key for a business system.
// Guarantees: only this answer holds the secret. Redis stores its hash and, for a key that may sign, the sealed secret.
// A 503 names the key that may have been made.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import {
  hashProducerSecret,
  makeProducerKeyId,
  makeProducerSecret,
} from "@petrel/shared/security/producers/producer-keys";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { NewProducerKey, ProducerKeyRecord } from "@petrel/shared/redis/producers/producer-keys-store";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { sealProducerSecret } from "@petrel/shared/security/producers/seal-producer-secret";
import type { ManageKeysDeps } from "../keys/manage-keys-deps.js";
import {
  keyNameSchema,
  keyWithSecretSchema,
  messagesPerSecondSchema,
  ownerSchema,
  requireSchema,
  scopesSchema,
  viewKey,
} from "../keys/producer-key-schema.js";
import { repeatUntilAnswered } from "../keys/repeat-until-answered.js";

const bodySchema = Type.Object(
  {
    name: keyNameSchema,
    owner: Type.Optional(ownerSchema),
    scopes: scopesSchema,
    signing: Type.Optional(
      Type.Boolean({
        description:
          "Whether the key may sign its requests. If so, its encrypted secret is stored. Default: only if `require` asks for it.",
      }),
    ),
    require: Type.Optional(requireSchema),
    messagesPerSecond: Type.Optional(messagesPerSecondSchema),
  },
  { title: "NewProducerKey", additionalProperties: false },
);

export function addCreateKey(app: HttpApp, deps: ManageKeysDeps): void {
  const { authenticator, cipher, audit, clock } = deps;
  app.post(
    "/v1/keys",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: "Create a producer key (scope: admin)",
        description:
          "Without an owner, the key belongs to the owner of the key that creates it. After a 503 with `keyId` in its " +
          "details, that key may exist. Nobody has its secret, so revoke it.",
        security: producerSecurity,
        querystring: noQuerySchema,
        body: bodySchema,
        response: { 201: keyWithSecretSchema, ...producerErrors },
      },
    },
    async (request, reply) => {
      const by = producerOf(request);
      const { name, owner = by.owner, scopes, require, messagesPerSecond } = request.body;
      const { signing = require !== undefined } = request.body;
      if (require !== undefined && !signing) {
        throw new PetrelError(
          "PETREL_INVALID_REQUEST",
          "body/signing: must be true for a key that must sign",
          {
            details: { field: "body/signing" },
          },
        );
      }
      const id = makeProducerKeyId();
      const secret = makeProducerSecret();
      const record = await createKey(deps, {
        id,
        name,
        owner,
        scopes,
        secretSha256: hashProducerSecret(secret),
        ...(signing ? { sealedSecret: sealProducerSecret(cipher, id, secret) } : {}),
        ...(require === undefined ? {} : { require }),
        ...(messagesPerSecond === undefined ? {} : { messagesPerSecond }),
      });
      await audit.record({
        actor: `key:${by.keyId}`,
        action: "key.create",
        target: id,
        details: {
          name,
          owner,
          scopes: scopes.join(" "),
          signing,
          ...(require === undefined ? {} : { require }),
          ...(messagesPerSecond === undefined ? {} : { messagesPerSecond }),
        },
      });
      request.log.info({ keyId: id, owner, scopes, signing, by: by.keyId }, "producer key created");
      return reply
        .code(201)
        .header("cache-control", "no-store")
        .send({ ...viewKey(record, clock.wallMs()), secret });
    },
  );
}

async function createKey(
  { producerKeys, clock }: ManageKeysDeps,
  key: NewProducerKey,
): Promise<ProducerKeyRecord> {
  const createdAt = new Date(clock.wallMs());
  try {
    return await repeatUntilAnswered(() => producerKeys.create(key, createdAt));
  } catch (error) {
    if (!(error instanceof PetrelError) || error.code !== "PETREL_UNAVAILABLE") throw error;
    throw new PetrelError("PETREL_UNAVAILABLE", "Redis does not answer. The key may have been created.", {
      cause: error,
      details: { keyId: key.id },
    });
  }
}
