// A producer's request -> here: topics, which the contract has and which are not built yet.
// Guarantees: 501, after the checks that the real route will have.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { TOPIC_PATTERN } from "@petrel/shared/protocol/messages/ids";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { notImplementedError, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";

export function addTopicRoutes(
  app: HttpApp,
  { authenticator }: { readonly authenticator: ProducerAuthenticator },
): void {
  app.get(
    "/v1/topics/:topic/presence",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["topics"],
        summary: "Get who listens to a topic (not built yet)",
        description: "Scope: `read`.",
        security: producerSecurity,
        params: Type.Object({ topic: Type.String({ pattern: TOPIC_PATTERN }) }),
        querystring: noQuerySchema,
        response: { ...producerErrors, ...notImplementedError },
      },
    },
    () => {
      throw new PetrelError("PETREL_NOT_IMPLEMENTED", "Topics are not built yet.");
    },
  );
}
