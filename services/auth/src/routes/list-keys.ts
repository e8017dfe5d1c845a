// GET /v1/keys: lists the producer keys.
// Guarantees: shows neither secrets nor their hashes; ordered by id, so pages never repeat a key.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { DEFAULT_LIMIT, pageFields } from "@petrel/shared/kernel/http/page-query";
import { PRODUCER_KEY_ID_PATTERN } from "@petrel/shared/security/producers/producer-keys";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import type { ManageKeysDeps } from "../keys/manage-keys-deps.js";
import { keyViewSchema, viewKey } from "../keys/producer-key-schema.js";

const querySchema = Type.Object(
  {
    ...pageFields(PRODUCER_KEY_ID_PATTERN),
  },
  { additionalProperties: false },
);

const answerSchema = Type.Object(
  { items: Type.Array(keyViewSchema), nextCursor: Type.Union([Type.String(), Type.Null()]) },
  { title: "ProducerKeyPage", additionalProperties: false },
);

export function addListKeys(app: HttpApp, { authenticator, producerKeys, clock }: ManageKeysDeps): void {
  app.get(
    "/v1/keys",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: "List producer keys, including revoked ones (scope: admin)",
        security: producerSecurity,
        querystring: querySchema,
        response: { 200: answerSchema, ...producerErrors },
      },
    },
    async (request, reply) => {
      const { cursor, limit = DEFAULT_LIMIT } = request.query;
      const nowMs = clock.wallMs();
      const { items, nextAfter } = await producerKeys.list(cursor, Number(limit));
      return reply.send({ items: items.map((item) => viewKey(item, nowMs)), nextCursor: nextAfter ?? null });
    },
  );
}
