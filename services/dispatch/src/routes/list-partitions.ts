// GET /v1/partitions: which partitions this dispatcher owns, and what waits in them.
// Guarantees: shows what this process believes, which is never more than Redis granted it.
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { DEFAULT_LIMIT, pageFields } from "@petrel/shared/kernel/http/page-query";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";

export interface OwnedPartition {
  readonly keys: PartitionKeys;
  /** The fencing token. */
  readonly token: string;
  readonly leaseEndsAtServerMs: number;
}

export interface ListPartitionsDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly dispatcherId: string;
  readonly ownedPartitions: () => readonly OwnedPartition[];
  /** The length of each partition's `ready`, in the order given. */
  readonly readReadyLengths: (partitions: readonly PartitionKeys[]) => Promise<number[]>;
}

const querySchema = Type.Object(
  {
    ...pageFields("^[0-9]{1,5}$"),
  },
  { additionalProperties: false },
);

const answerSchema = Type.Object(
  {
    dispatcher: Type.String({ description: "This dispatcher: its name and its boot epoch." }),
    items: Type.Array(
      Type.Object(
        {
          partition: Type.Integer(),
          token: Type.String({ description: "The fencing token: its number grows with each new lease." }),
          leaseEndsAt: Type.String({ format: "date-time", description: "By Redis' clock." }),
          ready: Type.Integer({ description: "Messages waiting to be handed over." }),
        },
        { additionalProperties: false },
      ),
    ),
    nextCursor: Type.Union([Type.String(), Type.Null()]),
  },
  { title: "PartitionPage", additionalProperties: false },
);

export function addListPartitions(app: HttpApp, deps: ListPartitionsDeps): void {
  app.get(
    "/v1/partitions",
    {
      onRequest: authorize(deps.authenticator, "admin"),
      schema: {
        summary: "List the partitions that this dispatcher owns (scope: admin)",
        security: producerSecurity,
        querystring: querySchema,
        response: { 200: answerSchema, ...producerErrors },
      },
    },
    async (request, reply) => {
      const { cursor = "-1", limit = DEFAULT_LIMIT } = request.query;
      const later = deps
        .ownedPartitions()
        .filter(({ keys }) => keys.partition > Number(cursor))
        .sort((a, b) => a.keys.partition - b.keys.partition);
      const page = later.slice(0, Number(limit));
      const lengths = await awaitAnswer(deps.readReadyLengths(page.map(({ keys }) => keys)));
      const last = page.at(-1);
      return reply.send({
        dispatcher: deps.dispatcherId,
        items: page.map(({ keys, token, leaseEndsAtServerMs }, i) => ({
          partition: keys.partition,
          token,
          leaseEndsAt: formatTime(leaseEndsAtServerMs),
          ready: lengths[i] ?? 0,
        })),
        nextCursor: later.length > page.length && last !== undefined ? String(last.keys.partition) : null,
      });
    },
  );
}
