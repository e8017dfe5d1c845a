// DELETE /v1/keys/:id: revokes a producer key.
// Guarantees: final. Takes effect in this process at once, in others within the two seconds of their caches.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { errorSchema, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import type { ManageKeysDeps } from "../keys/manage-keys-deps.js";
import { keyParamsSchema } from "../keys/producer-key-schema.js";

export function addRevokeKey(
  app: HttpApp,
  { authenticator, producerKeys, audit, clock }: ManageKeysDeps,
): void {
  app.delete(
    "/v1/keys/:id",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: "Revoke a producer key (scope: admin)",
        security: producerSecurity,
        querystring: noQuerySchema,
        params: keyParamsSchema,
        response: { 204: Type.Null(), ...producerErrors, 404: errorSchema },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      if (!(await producerKeys.revoke(id, new Date(clock.wallMs())))) {
        throw new PetrelError("PETREL_NOT_FOUND", `There is no producer key ${id}.`);
      }
      authenticator.forget(id);
      const by = producerOf(request).keyId;
      await audit.record({ actor: `key:${by}`, action: "key.revoke", target: id });
      request.log.info({ keyId: id, by }, "producer key revoked");
      return reply.code(204).send(null);
    },
  );
}
