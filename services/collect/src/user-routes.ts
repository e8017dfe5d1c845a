// A producer's request -> here: what is stored for a user, who is connected, and the operators' calls.
// Guarantees: reads change nothing but the ends of messages whose time is over.
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http-app";
import { USER_ID_PATTERN } from "@petrel/shared/protocol/ids";
import { partitionOfUser } from "@petrel/shared/protocol/partition";
import { awaitAnswer } from "@petrel/shared/redis/await-answer";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readConnections } from "@petrel/shared/redis/route-store";
import type { ScriptRunner } from "@petrel/shared/redis/script-runner";
import type { ProducerAuthenticator } from "@petrel/shared/security/authenticate-producer";
import { Type } from "typebox";
import { authorize } from "@petrel/shared/security/authorize-producer";
import { disconnectUser } from "./disconnect-user.js";
import { notImplementedError, producerErrors } from "@petrel/shared/kernel/error-schema";
import { noQuerySchema } from "@petrel/shared/kernel/no-query-schema";
import { afterSeqSchema, DEFAULT_PAGE_SIZE } from "./query-schema.js";
import { readUserMessages, userMessagesSchema } from "./read-user-messages.js";
import { refuseBody } from "./refuse-body.js";

export interface UserRoutesDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
}

const paramsSchema = Type.Object({ id: Type.String({ pattern: USER_ID_PATTERN }) });

const presenceSchema = Type.Object({
  online: Type.Boolean(),
  connections: Type.Array(
    Type.Object({
      id: Type.String(),
      node: Type.String(),
      platform: Type.String(),
      connectedAt: Type.String({ format: "date-time" }),
    }),
    { description: "Oldest first." },
  ),
});

export function addUserRoutes(app: HttpApp, deps: UserRoutesDeps): void {
  const { authenticator, scripts } = deps;

  app.get(
    "/v1/users/:id/messages",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["users"],
        summary: "A user's stored messages, in order",
        description: "Acknowledged ones too, as far as they are kept for slower devices. Scope: `read`.",
        security: [{ bearer: [] }],
        params: paramsSchema,
        querystring: afterSeqSchema,
        response: { 200: userMessagesSchema, ...producerErrors },
      },
    },
    async ({ params: { id }, query }, reply) => {
      const page = {
        after: Number(query.after ?? 0),
        limit: query.limit === undefined ? DEFAULT_PAGE_SIZE : Number(query.limit),
      };
      const body = await awaitAnswer(readUserMessages(scripts, keysOf(deps, id), id, page));
      return reply.type("application/json; charset=utf-8").send(body);
    },
  );

  app.get(
    "/v1/users/:id/presence",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["users"],
        summary: "Whether a user is connected, and from where",
        description: "Scope: `read`.",
        security: [{ bearer: [] }],
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
          connectedAt: new Date(connectedAtMs).toISOString(),
        })),
      };
    },
  );

  app.post(
    "/v1/users/:id/disconnect",
    {
      onRequest: authorize(authenticator, "admin"),
      preValidation: refuseBody,
      schema: {
        tags: ["users"],
        summary: "Close all connections of a user",
        description: "They close with 4403 and do not come back by themselves. Scope: `admin`.",
        security: [{ bearer: [] }],
        params: paramsSchema,
        querystring: noQuerySchema,
        response: {
          200: Type.Object({ disconnected: Type.Integer({ description: "Connections that were told." }) }),
          ...producerErrors,
        },
      },
    },
    async ({ params: { id } }) => ({
      disconnected: await awaitAnswer(disconnectUser(scripts, keysOf(deps, id), id)),
    }),
  );

  app.delete(
    "/v1/users/:id",
    {
      onRequest: authorize(authenticator, "admin"),
      schema: {
        tags: ["users"],
        summary: "Erase a person (not built yet)",
        description: "Scope: `admin`.",
        security: [{ bearer: [] }],
        params: paramsSchema,
        querystring: noQuerySchema,
        response: { 204: Type.Null(), ...producerErrors, ...notImplementedError },
      },
    },
    () => {
      throw new PetrelError(
        "PETREL_NOT_IMPLEMENTED",
        "Erasing a user is not built yet; nothing was changed.",
      );
    },
  );
}

function keysOf({ partitions }: UserRoutesDeps, userId: string): PartitionKeys {
  const keys = partitions[partitionOfUser(userId, partitions.length)];
  if (keys === undefined) throw new Error("no partitions");
  return keys;
}
