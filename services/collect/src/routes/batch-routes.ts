// A producer's request -> here -> accept/accept-requests: many messages in one request.
// Guarantees: a bad entry fails alone. Entries for one user or topic keep their order. All share the same few calls to
// Redis.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { acceptBatch, type AcceptMessageDeps, checkBatch } from "../accept/accept-requests.js";
import { batchAcceptedSchema } from "../contract/answer-schema.js";
import {
  authorize,
  producerOf,
  type RememberedProducers,
} from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { sendErrors } from "@petrel/shared/kernel/http/error-schema";
import { batchSchema, messageSchema } from "../contract/message-schema.js";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";

export interface BatchRoutesDeps extends AcceptMessageDeps {
  readonly authenticator: ProducerAuthenticator;
  /** Producers that were authorized to send a moment ago. */
  readonly senders: RememberedProducers;
}

export function addBatchRoutes(app: HttpApp, deps: BatchRoutesDeps): void {
  const { authenticator, senders, limits } = deps;
  app.post(
    "/v1/messages/batch",
    {
      onRequest: authorize(authenticator, "send", senders),
      preParsing: limits.refuseEarly,
      schema: {
        tags: ["messages"],
        summary: "Send many messages at once",
        description:
          "Each entry is checked and stored on its own. Scope: `send`. The body may be gzip, 8 MiB unpacked.",
        security: producerSecurity,
        body: batchSchema,
        querystring: noQuerySchema,
        response: { 202: batchAcceptedSchema, ...sendErrors },
      },
    },
    async (request, reply) => {
      const producer = producerOf(request);
      // With the validator of POST /v1/messages, which is compiled only once.
      const validate = request.compileValidationSchema(messageSchema, "body");
      const checked = checkBatch(producer, request.body.messages, validate);
      const { headers } = request;
      const results = await acceptBatch(deps, { producer, checked, headers, answer: reply });
      reply.code(202);
      return { results };
    },
  );
}
