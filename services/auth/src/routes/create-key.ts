// POST /v1/keys: an administrator makes a key for a business system.
// Guarantees: the secret is in this answer and nowhere else; what is kept is its hash.
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/no-query-schema";
import {
  hashProducerSecret,
  makeProducerKeyId,
  makeProducerSecret,
} from "@petrel/shared/security/producer-keys";
import { Type } from "typebox";
import { authorize, producerOf } from "@petrel/shared/security/authorize-producer";
import { producerErrors } from "@petrel/shared/kernel/error-schema";
import type { ManageKeysDeps } from "../manage-keys-deps.js";
import {
  keyNameSchema,
  keyWithSecretSchema,
  ownerSchema,
  scopesSchema,
  viewKey,
} from "../producer-key-schema.js";

const bodySchema = Type.Object(
  { name: keyNameSchema, owner: Type.Optional(ownerSchema), scopes: scopesSchema },
  { additionalProperties: false },
);

export function addCreateKey(app: HttpApp, { authenticator, producerKeys, clock }: ManageKeysDeps): void {
  app.post(
    "/v1/keys",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: "Make a producer key (scope: admin)",
        description: "Without an owner, the key belongs to the owner of the key that makes it.",
        security: [{ bearer: [] }],
        querystring: noQuerySchema,
        body: bodySchema,
        response: { 201: keyWithSecretSchema, ...producerErrors },
      },
    },
    async (request, reply) => {
      const by = producerOf(request);
      const { name, owner = by.owner, scopes } = request.body;
      const secret = makeProducerSecret();
      const record = await producerKeys.create(
        { id: makeProducerKeyId(), name, owner, scopes, secretSha256: hashProducerSecret(secret) },
        new Date(clock.wallMs()),
      );
      request.log.info({ keyId: record.id, owner, scopes, by: by.keyId }, "producer key created");
      return reply
        .code(201)
        .header("cache-control", "no-store")
        .send({ ...viewKey(record), secret });
    },
  );
}
