// /v1/archive: for operators: how far the message archive has got, and a request to search for what Redis may have
// lost.
// Guarantees: only for the scope admin. A confirmed request is stored in the archive: owners begin within seconds, and
// if one dies, the next continues.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { notFoundError, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { DEFAULT_LIMIT, pageFields } from "@petrel/shared/kernel/http/page-query";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import type { ArchivedPartition, ArchiveView } from "../archive/archive-view.js";

export interface ArchiveRoutesDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly audit: AuditLog;
  /** Undefined if none is configured. */
  readonly archive?: Pick<ArchiveView, "partitions" | "status" | "describe" | "askRedrive"> | undefined;
}

const querySchema = Type.Object({ ...pageFields("^[0-9]{1,5}$") }, { additionalProperties: false });

const answerSchema = Type.Object(
  {
    server: Type.String({ description: "The version that the archive's server calls itself." }),
    rows: Type.Integer({ description: "About how many messages it has." }),
    erasuresOpen: Type.Integer({ description: "Persons whose rows are still being removed." }),
    items: Type.Array(
      Type.Object({
        partition: Type.Integer(),
        open: Type.Integer({ description: "Messages that have not ended; counted to 100,000." }),
        overdue: Type.Integer({ description: "Of these, those due to be checked." }),
        lagSeconds: Type.Number({ description: "How long the most overdue one has waited." }),
        spooled: Type.Integer({ description: "Entries that wait in Redis for the archive." }),
        redrive: Type.Object({
          state: Type.String({ description: "due, running or done." }),
          looked: Type.Integer({ description: "Open messages checked by the running redrive, or the last." }),
          driven: Type.Integer({
            description: "Of these, those that Redis had lost and that were sent again.",
          }),
          changedAt: Type.Union([timeSchema, Type.Null()]),
        }),
      }),
    ),
    nextCursor: Type.Union([Type.String(), Type.Null()]),
  },
  { title: "ArchiveStatus" },
);

export function addArchive(app: HttpApp, { authenticator, audit, archive }: ArchiveRoutesDeps): void {
  const onRequest = authorize(authenticator, "admin");
  const tags = ["archive"];
  const security = producerSecurity;
  const configured = (): NonNullable<typeof archive> => {
    if (archive !== undefined) return archive;
    throw new PetrelError("PETREL_NOT_FOUND", "There is no message archive: MESSAGE_ARCHIVE_URL is not set.");
  };

  app.get(
    "/v1/archive",
    {
      onRequest,
      schema: {
        tags,
        summary: "Get the state of the message archive, by partition (scope: admin)",
        security,
        querystring: querySchema,
        response: { 200: answerSchema, ...producerErrors, ...notFoundError },
      },
    },
    async ({ query: { cursor = "-1", limit = DEFAULT_LIMIT } }) => {
      const view = configured();
      const later = view.partitions.filter(({ partition }) => partition > Number(cursor));
      const page = later.slice(0, Number(limit));
      const last = page.at(-1);
      const [status, items] = await Promise.all([view.status(), view.describe(page)]);
      return {
        ...status,
        items: items.map(describePartition),
        nextCursor: later.length > page.length && last !== undefined ? String(last.partition) : null,
      };
    },
  );

  app.post(
    "/v1/archive/redrive",
    {
      onRequest,
      schema: {
        tags,
        summary: "Search again for messages that Redis may have lost, and send them again (scope: admin)",
        description:
          "Checks the open messages of all partitions. Messages that Redis knows stay as they are.",
        security,
        querystring: noQuerySchema,
        response: {
          202: Type.Object({
            partitions: Type.Integer({ description: "How many partitions are searched." }),
          }),
          ...producerErrors,
          ...notFoundError,
        },
      },
    },
    async (request, reply) => {
      const view = configured();
      await view.askRedrive();
      const by = producerOf(request).keyId;
      request.log.info({ by }, "archive redrive requested");
      await audit.record({ actor: `key:${by}`, action: "archive.redrive", target: "all" });
      return reply.code(202).send({ partitions: view.partitions.length });
    },
  );
}

function describePartition(one: ArchivedPartition) {
  const { partition, open, overdue, lagMs, spooled, redrive: state, looked, driven, changedAtMs } = one;
  const changedAt = changedAtMs === undefined ? null : formatTime(changedAtMs);
  return {
    partition,
    open,
    overdue,
    lagSeconds: lagMs / 1_000,
    spooled,
    redrive: { state, looked, driven, changedAt },
  };
}
