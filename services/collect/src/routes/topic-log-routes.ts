// A producer's request -> here -> topics/{read-topic-log, read-topic-presence}: where a topic stands, and what its log
// holds.
// Guarantees: a read changes nothing, except that it removes what is too old. `$all` is the topic of broadcasts.
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { DEFAULT_LIMIT } from "@petrel/shared/kernel/http/page-query";
import { TOPIC_PATTERN } from "@petrel/shared/protocol/messages/ids";
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { afterOffsetSchema } from "../contract/query-schema.js";
import {
  readTopicHead,
  readTopicMessages,
  topicLogHeadFields,
  topicMessagesSchema,
} from "../topics/read-topic-log.js";
import { countPresence, presenceCountFields } from "../topics/read-topic-presence.js";

export interface TopicLogRoutesDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  /** The rule that applies to a topic at this moment. */
  readonly topicRules: { ruleOf(topic: string): Pick<TopicRule, "presence" | "archive"> };
  /** Set if one is configured. */
  readonly archive: Pick<MessageArchive, "list"> | undefined;
}

const paramsSchema = Type.Object({
  topic: Type.String({
    pattern: `${TOPIC_PATTERN}|^\\$all$`,
    description: "A topic's name, or `$all` for broadcasts.",
  }),
});

const topicSchema = Type.Object({ ...topicLogHeadFields, ...presenceCountFields }, { title: "Topic" });

export function addTopicLogRoutes(app: HttpApp, deps: TopicLogRoutesDeps): void {
  const { authenticator, scripts, topicRules, archive } = deps;

  app.get(
    "/v1/topics/:topic",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["topics"],
        summary: "Get a topic's position and counts",
        description: "Scope: `read`.",
        security: producerSecurity,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: { 200: topicSchema, ...producerErrors },
      },
    },
    async ({ params: { topic } }) => {
      const keys = keysOf(deps, topic);
      const { presence } = topicRules.ruleOf(topic);
      const [head, counts] = await Promise.all([
        awaitAnswer(readTopicHead(scripts, keys, topic)),
        awaitAnswer(countPresence(scripts, keys, topic, presence)),
      ]);
      return { ...head, ...counts };
    },
  );

  app.get(
    "/v1/topics/:topic/messages",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["topics"],
        summary: "List the messages in a topic's log, in order",
        description:
          "Expired messages are left out. If the topic's rule says `archive`, the list begins in the message archive, before `oldest`, and nothing is left out. Scope: `read`.",
        security: producerSecurity,
        params: paramsSchema,
        querystring: afterOffsetSchema,
        response: { 200: topicMessagesSchema, ...producerErrors },
      },
    },
    async ({ params: { topic }, query }, reply) => {
      const page = {
        after: Number(query.after ?? 0),
        limit: Number(query.limit ?? DEFAULT_LIMIT),
      };
      const sources = { scripts, archive: topicRules.ruleOf(topic).archive ? archive : undefined };
      const body = await awaitAnswer(readTopicMessages(sources, keysOf(deps, topic), topic, page));
      return reply.type("application/json; charset=utf-8").send(body);
    },
  );
}

function keysOf({ partitions }: TopicLogRoutesDeps, topic: string): PartitionKeys {
  const keys = partitions[partitionOfTopic(topic, partitions.length)];
  if (keys === undefined) throw new Error("no partitions");
  return keys;
}
