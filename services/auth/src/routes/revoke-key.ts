// DELETE /v1/keys/:id: a producer key is good no longer.
// Guarantees: for this process at once, for all others when their cache's few seconds are over; final.
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/no-query-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { Type } from "typebox";
import { authorize, producerOf } from "@petrel/shared/security/authorize-producer";
import { errorSchema, producerErrors } from "@petrel/shared/kernel/error-schema";
import type { ManageKeysDeps } from "../manage-keys-deps.js";
import { keyParamsSchema } from "../producer-key-schema.js";

export function addRevokeKey(app: HttpApp, { authenticator, producerKeys, clock }: ManageKeysDeps): void {
  app.delete(
    "/v1/keys/:id",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: "Revoke a producer key (scope: admin)",
        security: [{ bearer: [] }],
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
      request.log.info({ keyId: id, by: producerOf(request).keyId }, "producer key revoked");
      return reply.code(204).send(null);
    },
  );
}
