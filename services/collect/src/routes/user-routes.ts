// A producer's request -> here: what is stored for a user, who is connected, and the operators' calls.
// Guarantees: a read changes nothing, except that it writes the end of expired messages.
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readConnections } from "@petrel/shared/redis/routes/route-store";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { describeUser, type DescribeUserDeps, userSchema } from "../users/describe-user.js";
import { disconnectUser } from "../users/disconnect-user.js";
import type { UserErasure } from "../users/erase-user.js";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { DEFAULT_LIMIT } from "@petrel/shared/kernel/http/page-query";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { userMessagesQuerySchema } from "../contract/query-schema.js";
import { listScheduled, scheduledMessagesSchema } from "../users/list-scheduled.js";
import { readUserMessages, userMessagesSchema } from "../users/read-user-messages.js";

export interface UserRoutesDeps extends DescribeUserDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly audit: AuditLog;
  readonly erasure: Pick<UserErasure, "erase">;
  readonly partitions: readonly PartitionKeys[];
  /** Set if one is configured. */
  readonly archive: Pick<MessageArchive, "list"> | undefined;
}

const paramsSchema = Type.Object({ id: Type.String({ pattern: USER_ID_PATTERN }) });

const presenceSchema = Type.Object(
  {
    online: Type.Boolean(),
    connections: Type.Array(
      Type.Object({
        id: Type.String(),
        node: Type.String(),
        platform: Type.String(),
        connectedAt: timeSchema,
      }),
      { description: "Oldest first." },
    ),
  },
  { title: "Presence" },
);

export function addUserRoutes(app: HttpApp, deps: UserRoutesDeps): void {
  const { authenticator, scripts, audit } = deps;

  app.get(
    "/v1/users/:id/messages",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["users"],
        summary: "List a user's stored messages, in order",
        description:
          "Includes acknowledged ones that are kept for slower devices and, with a message archive, older ones of the " +
          "user's present sequence that did not expire and were not cancelled. With `state=scheduled`: the scheduled messages " +
          "instead. Scope: `read`.",
        security: producerSecurity,
        params: paramsSchema,
        querystring: userMessagesQuerySchema,
        response: { 200: Type.Union([userMessagesSchema, scheduledMessagesSchema]), ...producerErrors },
      },
    },
    async ({ params: { id }, query }, reply) => {
      const { state, after, cursor, limit = DEFAULT_LIMIT } = query;
      refuseMixed(state === "scheduled" ? { after } : { cursor }, state);
      const keys = keysOf(deps, id);
      const body = await awaitAnswer(
        state === "scheduled"
          ? listScheduled(scripts, keys, id, { cursor, limit: Number(limit) })
          : readUserMessages({ scripts, archive: deps.archive }, keys, id, {
              after: Number(after ?? 0),
              limit: Number(limit),
            }),
      );
      return reply.type("application/json; charset=utf-8").send(body);
    },
  );

  app.get(
    "/v1/users/:id",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["users"],
        summary: "Get everything known about a user at this moment",
        description:
          "Connections, devices, cursors, and the newest messages by id. For people who look into a complaint, not for " +
          "polling. Scope: `read`.",
        security: producerSecurity,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: { 200: userSchema, ...producerErrors },
      },
    },
    ({ params: { id } }) => awaitAnswer(describeUser(deps, keysOf(deps, id), id)),
  );

  app.get(
    "/v1/users/:id/presence",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["users"],
        summary: "Get whether a user is connected, and from where",
        description: "Scope: `read`.",
        security: producerSecurity,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: { 200: presenceSchema, ...producerErrors },
      },
    },
    async ({ params: { id } }) => {
      const connections = await awaitAnswer(readConnections(scripts, keysOf(deps, id), id));
      return {
        online: connections.length > 0,
        connections: connections.map(({ connectedAtMs, ...connection }) => ({
          ...connection,
          connectedAt: formatTime(connectedAtMs),
        })),
      };
    },
  );

  app.post(
    "/v1/users/:id/disconnect",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        tags: ["users"],
        summary: "Close all connections of a user",
        description: "They close with 4403 and do not reconnect by themselves. Scope: `admin`.",
        security: producerSecurity,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: {
          200: Type.Object({
            disconnected: Type.Integer({ description: "Connections that were told to close." }),
          }),
          ...producerErrors,
        },
      },
    },
    async (request) => {
      const { id } = request.params;
      const disconnected = await awaitAnswer(disconnectUser(scripts, keysOf(deps, id), id));
      await audit.record({
        actor: `key:${producerOf(request).keyId}`,
        action: "user.disconnect",
        target: id,
        details: { disconnected },
      });
      return { disconnected };
    },
  );

  app.delete(
    "/v1/users/:id",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        tags: ["users"],
        summary: "Erase a user",
        description:
          "Their sockets close and their tokens end at once. Then everything stored about them is deleted: messages and " +
          "their states, devices, waiting fallbacks. Idempotent: after a 503 or a lost answer, call it again. It takes as " +
          "long as a scan of all keys of a Redis server. Scope: `admin`.",
        security: producerSecurity,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: { 204: Type.Null(), ...producerErrors },
      },
    },
    async (request, reply) => {
      await deps.erasure.erase(request.params.id, producerOf(request).keyId);
      return reply.code(204).send(null);
    },
  );
}

/** One list is ordered by seq, the other by time, so each has its own cursor parameter. */
function refuseMixed(other: Readonly<Record<string, string | undefined>>, state: string | undefined): void {
  for (const [name, value] of Object.entries(other)) {
    if (value === undefined) continue;
    const field = `querystring/${name}`;
    const kind = state === undefined ? "without state=scheduled" : `with state=${state}`;
    throw new PetrelError("PETREL_INVALID_REQUEST", `${field}: not ${kind}`, { details: { field } });
  }
}

function keysOf({ partitions }: UserRoutesDeps, userId: string): PartitionKeys {
  const keys = partitions[partitionOfUser(userId, partitions.length)];
  if (keys === undefined) throw new Error("no partitions");
  return keys;
}
