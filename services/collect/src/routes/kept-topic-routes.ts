// A producer's request -> here -> topics/keep-topics: topics that the server keeps for a user.
// Guarantees: 204 means that it is stored and the user's nodes were told. PUT and DELETE are idempotent.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { conflictError, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { DEFAULT_LIMIT, pageFields } from "@petrel/shared/kernel/http/page-query";
import { TOPIC_PATTERN, USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { KeptTopics } from "../topics/keep-topics.js";
import { keptTopicsSchema, pageKeptTopics } from "../topics/list-kept-topics.js";

export interface KeptTopicRoutesDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly keptTopics: Pick<KeptTopics, "keep" | "drop">;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
}

const userSchema = Type.Object({ id: Type.String({ pattern: USER_ID_PATTERN }) });
const userTopicSchema = Type.Object({
  id: Type.String({ pattern: USER_ID_PATTERN }),
  topic: Type.String({ pattern: TOPIC_PATTERN }),
});
const pageSchema = Type.Object(pageFields(TOPIC_PATTERN), { additionalProperties: false });

export function addKeptTopicRoutes(app: HttpApp, deps: KeptTopicRoutesDeps): void {
  const { authenticator, keptTopics, scripts, partitions } = deps;
  const change = {
    onRequest: authorize(authenticator, "send"),
  };
  const tags = ["topics"];
  const security = producerSecurity;

  app.put(
    "/v1/users/:id/topics/:topic",
    {
      ...change,
      schema: {
        tags,
        summary: "Keep a topic for a user",
        description:
          "Every present and future connection of the user has it, whatever its token says. At most 100 per " +
          "user. Scope: `send`.",
        security,
        params: userTopicSchema,
        querystring: noQuerySchema,
        response: { 204: Type.Null(), ...producerErrors, ...conflictError },
      },
    },
    async ({ params: { id, topic } }, reply) => {
      await keptTopics.keep(id, topic);
      return reply.code(204).send(null);
    },
  );

  app.delete(
    "/v1/users/:id/topics/:topic",
    {
      ...change,
      schema: {
        tags,
        summary: "Stop keeping a topic for a user",
        description: "A client's own subscriptions stay. Scope: `send`.",
        security,
        params: userTopicSchema,
        querystring: noQuerySchema,
        response: { 204: Type.Null(), ...producerErrors },
      },
    },
    async ({ params: { id, topic } }, reply) => {
      await keptTopics.drop(id, topic);
      return reply.code(204).send(null);
    },
  );

  app.get(
    "/v1/users/:id/topics",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags,
        summary: "List the topics kept for a user",
        description: "By name. Clients' own subscriptions are not included. Scope: `read`.",
        security,
        params: userSchema,
        querystring: pageSchema,
        response: { 200: keptTopicsSchema, ...producerErrors },
      },
    },
    async ({ params: { id }, query: { cursor, limit = DEFAULT_LIMIT } }) => {
      const keys = partitions[partitionOfUser(id, partitions.length)];
      if (keys === undefined) throw new Error("no partitions");
      return awaitAnswer(pageKeptTopics(scripts, keys, id, { cursor, limit: Number(limit) }));
    },
  );
}
