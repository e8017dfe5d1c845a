// A producer's request -> here -> topics/read-topic-presence, users/read-users-presence: who is in a topic, and which
// users are connected.
// Guarantees: a read changes nothing; only what a topic's rule has counted is shown.
import { PetrelError } from "@petrel/shared/kernel/errors";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { DEFAULT_LIMIT, pageFields } from "@petrel/shared/kernel/http/page-query";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { TOPIC_PATTERN, USER_ID_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { pageTopicPresence, topicPresenceSchema } from "../topics/read-topic-presence.js";
import { readUsersPresence, usersPresenceSchema } from "../users/read-users-presence.js";

export interface PresenceRoutesDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  /** The rule that applies to a topic at this moment. */
  readonly topicRules: { ruleOf(topic: string): Pick<TopicRule, "presence"> };
}

const MAX_USERS = 200;

const topicSchema = Type.Object({
  topic: Type.String({
    pattern: `${TOPIC_PATTERN}|^\\$all$`,
    description: "A topic's name. `$all` has no presence.",
  }),
});
const pageSchema = Type.Object(pageFields(USER_ID_PATTERN), { additionalProperties: false });
const usersSchema = Type.Object(
  {
    users: Type.String({
      description: `Names, joined by commas: 1 to ${MAX_USERS}, none twice. A \`+\` in a name is written \`%2B\`.`,
    }),
  },
  { additionalProperties: false },
);
const nameExpression = new RegExp(USER_ID_PATTERN);

export function addPresenceRoutes(app: HttpApp, deps: PresenceRoutesDeps): void {
  const { authenticator, scripts, partitions, topicRules } = deps;

  app.get(
    "/v1/topics/:topic/presence",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["topics"],
        summary: "Get who is in a topic",
        description:
          "By name. The topic's rule decides what is shown: nothing, counts, or each user. Scope: `read`.",
        security: producerSecurity,
        params: topicSchema,
        querystring: pageSchema,
        response: { 200: topicPresenceSchema, ...producerErrors },
      },
    },
    async ({ params: { topic }, query: { cursor, limit = DEFAULT_LIMIT } }) => {
      const keys = partitions[partitionOfTopic(topic, partitions.length)];
      if (keys === undefined) throw new Error("no partitions");
      const page = { rule: topicRules.ruleOf(topic).presence, cursor, limit: Number(limit) };
      return awaitAnswer(pageTopicPresence(scripts, keys, topic, page));
    },
  );

  app.get(
    "/v1/presence",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["users"],
        summary: "Get which of these users are connected",
        description: "In the order of the request. Scope: `read`.",
        security: producerSecurity,
        querystring: usersSchema,
        response: { 200: usersPresenceSchema, ...producerErrors },
      },
    },
    async ({ query: { users } }) => ({
      items: await awaitAnswer(readUsersPresence(scripts, partitions, readNames(users))),
    }),
  );
}

/** @throws PetrelError PETREL_INVALID_REQUEST */
function readNames(text: string): string[] {
  const names = text === "" ? [] : text.split(",");
  const problem = problemOf(names);
  if (problem === undefined) return names;
  const field = "querystring/users";
  throw new PetrelError("PETREL_INVALID_REQUEST", `${field}: ${problem}`, { details: { field } });
}

function problemOf(names: readonly string[]): string | undefined {
  if (names.length === 0) return "must name at least one user";
  if (names.length > MAX_USERS) return `must not name more than ${MAX_USERS} users`;
  if (!names.every((name) => nameExpression.test(name))) return "contains something that is not a user id";
  if (new Set(names).size < names.length) return "must not name a user twice";
  return undefined;
}
