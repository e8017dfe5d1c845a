// POST /v1/keys/:id/rotate: a producer key gets a new secret.
// Guarantees: the old secret ends here at once, elsewhere within the caches' few seconds; a revoked key stays revoked.
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/no-query-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { hashProducerSecret, makeProducerSecret } from "@petrel/shared/security/producer-keys";
import { authorize, producerOf } from "@petrel/shared/security/authorize-producer";
import { errorSchema, producerErrors } from "@petrel/shared/kernel/error-schema";
import type { ManageKeysDeps } from "../manage-keys-deps.js";
import { keyParamsSchema, keyWithSecretSchema, viewKey } from "../producer-key-schema.js";

export function addRotateKey(app: HttpApp, { authenticator, producerKeys, clock }: ManageKeysDeps): void {
  app.post(
    "/v1/keys/:id/rotate",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: "Give a producer key a new secret (scope: admin)",
        security: [{ bearer: [] }],
        querystring: noQuerySchema,
        params: keyParamsSchema,
        response: { 200: keyWithSecretSchema, ...producerErrors, 404: errorSchema, 409: errorSchema },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      if (request.body !== undefined && request.body !== null) {
        throw new PetrelError("PETREL_INVALID_REQUEST", "This takes no body.");
      }
      const secret = makeProducerSecret();
      const record = await producerKeys.rotate(id, hashProducerSecret(secret), new Date(clock.wallMs()));
      if (record === undefined) {
        if ((await producerKeys.find(id)) === undefined) {
          throw new PetrelError("PETREL_NOT_FOUND", `There is no producer key ${id}.`);
        }
        throw new PetrelError("PETREL_CONFLICT", `The producer key ${id} is revoked.`);
      }
      authenticator.forget(id);
      request.log.info({ keyId: id, by: producerOf(request).keyId }, "producer key rotated");
      return reply.header("cache-control", "no-store").send({ ...viewKey(record), secret });
    },
  );
}
