// GET /v1/invalidations: for operators: which devices were forgotten, quarantined or kept, and why.
// Guarantees: only for the scope admin; shows only the end of a token; newest first, over all partitions.
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { DEFAULT_LIMIT, pageFields } from "@petrel/shared/kernel/http/page-query";
import {
  invalidationOutcomes,
  type InvalidationReason,
  invalidationReasons,
} from "@petrel/shared/protocol/fallback/invalidation-reasons";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import {
  INVALIDATION_ID_PATTERN,
  type InvalidationsStore,
  type NotedInvalidation,
} from "@petrel/shared/redis/devices/invalidations-store";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

export interface ListInvalidationsDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly invalidations: InvalidationsStore;
}

const querySchema = Type.Object(
  {
    reason: Type.Optional(
      Type.Union(
        invalidationReasons.map((reason) => Type.Literal(reason)),
        { type: "string", enum: [...invalidationReasons] },
      ),
    ),
    ...pageFields(INVALIDATION_ID_PATTERN),
  },
  { additionalProperties: false },
);

const pageSchema = Type.Object(
  {
    items: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          at: timeSchema,
          outcome: Type.String({ description: invalidationOutcomes.join(", ") }),
          reason: Type.String({ description: invalidationReasons.join(", ") }),
          user: Type.String(),
          device: Type.String({ description: "Its id." }),
          tokenEnd: Type.String({ description: "Its last six characters." }),
          topic: Type.String({ description: "The app: a bundle id, an appid, or a push service's host." }),
          environment: Type.Union([Type.String(), Type.Null()]),
          providerTimestamp: Type.Union([timeSchema, Type.Null()], {
            description: "Since when the provider has known, if it said so.",
          }),
          registeredAt: timeSchema,
        },
        { title: "Invalidation" },
      ),
      { description: "Newest first, over all partitions." },
    ),
    nextCursor: Type.Union([Type.String(), Type.Null()]),
  },
  { title: "InvalidationPage" },
);

export function addListInvalidations(
  app: HttpApp,
  { authenticator, invalidations }: ListInvalidationsDeps,
): void {
  app.get(
    "/v1/invalidations",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        tags: ["devices"],
        summary: "List devices that are no longer sent to, newest first (scope: admin)",
        description: "The last ten thousand of each partition.",
        security: producerSecurity,
        querystring: querySchema,
        response: { 200: pageSchema, ...producerErrors },
      },
    },
    async ({ query: { reason, cursor, limit = DEFAULT_LIMIT } }) => {
      const { items, nextAfter } = await awaitAnswer(
        invalidations.list(reason as InvalidationReason | undefined, cursor, Number(limit)),
      );
      return { items: items.map(describe), nextCursor: nextAfter ?? null };
    },
  );
}

function describe(noted: NotedInvalidation) {
  const { id, outcome, reason, tokenEnd, topic, environment, providerTimestampMs } = noted;
  return {
    id,
    at: formatTime(noted.atMs),
    outcome,
    reason,
    user: noted.userId,
    device: noted.deviceId,
    tokenEnd,
    topic,
    environment: environment ?? null,
    providerTimestamp: providerTimestampMs === undefined ? null : formatTime(providerTimestampMs),
    registeredAt: formatTime(noted.registeredAtMs),
  };
}
