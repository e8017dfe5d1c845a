// GET /v1/keys: which producer keys there are.
// Guarantees: neither secrets nor their hashes; in the order of their ids, so that a page never repeats a key.
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { Type } from "typebox";
import { authorize } from "@petrel/shared/security/authorize-producer";
import { producerErrors } from "@petrel/shared/kernel/error-schema";
import { producerSecurity } from "@petrel/shared/security/producer-security";
import type { ManageKeysDeps } from "../manage-keys-deps.js";
import { keyIdSchema, keyViewSchema, viewKey } from "../producer-key-schema.js";

const DEFAULT_LIMIT = "50";

const querySchema = Type.Object(
  {
    cursor: Type.Optional(keyIdSchema),
    // A text: nothing in a request is coerced.
    limit: Type.Optional(
      Type.String({ pattern: "^([1-9][0-9]{0,2}|1000)$", default: DEFAULT_LIMIT, description: "1 to 1000." }),
    ),
  },
  { additionalProperties: false },
);

const answerSchema = Type.Object(
  { items: Type.Array(keyViewSchema), nextCursor: Type.Union([Type.String(), Type.Null()]) },
  { additionalProperties: false },
);

export function addListKeys(app: HttpApp, { authenticator, producerKeys, clock }: ManageKeysDeps): void {
  app.get(
    "/v1/keys",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        summary: "List producer keys, revoked ones too (scope: admin)",
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
