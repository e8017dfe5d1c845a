// A producer's request -> here -> check-message -> prepare-messages: sends one message, reads its state, cancels it.
// Guarantees: 202 means stored.
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { MESSAGE_ID_PATTERN, partitionOfMessageId } from "@petrel/shared/protocol/messages/ids";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { FallbackAttempt } from "@petrel/shared/protocol/fallback/fallback-attempt";
import { type FoundMessage, readAttempts, readMessage } from "@petrel/shared/redis/inbox/read-message";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { type AcceptMessageDeps, acceptMessage, checkAllowed } from "../accept/accept-requests.js";
import { acceptedSchema } from "../contract/answer-schema.js";
import {
  authorize,
  producerOf,
  type RememberedProducers,
} from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { type CancelMessages, noSuchMessage } from "../recall/cancel-messages.js";
import {
  describeMessage,
  type MessageStateAnswer,
  messageStateSchema,
} from "../contract/describe-message.js";
import { askArchive, describeArchived } from "../archive/read-archive.js";
import {
  conflictError,
  notFoundError,
  producerErrors,
  sendErrors,
} from "@petrel/shared/kernel/http/error-schema";
import { type MessageBody, messageSchema } from "../contract/message-schema.js";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { messageQuerySchema } from "../contract/explanation-schema.js";
import { type ExplainDeps, explainMessage } from "../explain/explain-message.js";

export interface MessageRoutesDeps extends AcceptMessageDeps, ExplainDeps {
  readonly authenticator: ProducerAuthenticator;
  /** Producers that were authorized to send a moment ago. */
  readonly senders: RememberedProducers;
  readonly cancels: Pick<CancelMessages, "cancel">;
  /** Set if one is configured. */
  readonly archive: Pick<MessageArchive, "find"> | undefined;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
}

const paramsSchema = Type.Object({ id: Type.String({ pattern: MESSAGE_ID_PATTERN }) });

export function addMessageRoutes(app: HttpApp, deps: MessageRoutesDeps): void {
  const { authenticator, senders, limits, cancels } = deps;

  app.post(
    "/v1/messages",
    {
      onRequest: authorize(authenticator, "send", senders),
      preParsing: limits.refuseEarly,
      schema: {
        tags: ["messages"],
        summary: "Send a message to a user, a list of users, a topic, or everyone",
        description:
          "Answers once the message is stored. Scope: `send`, and for `to.all` also `admin`. The body may be gzip, 8 MiB " +
          "unpacked.",
        security: producerSecurity,
        body: messageSchema,
        querystring: noQuerySchema,
        response: { 202: acceptedSchema, ...sendErrors },
      },
    },
    async (request, reply) => {
      const producer = producerOf(request);
      const checked = checkAllowed(producer, request.body as MessageBody);
      const answer = await acceptMessage(deps, {
        producer,
        checked,
        headers: request.headers,
        answer: reply,
      });
      reply.code(202);
      return answer;
    },
  );

  app.get(
    "/v1/messages/:id",
    {
      onRequest: authorize(authenticator, "read"),
      schema: {
        tags: ["messages"],
        summary: "Get what became of a message",
        description:
          "Includes the fallback channels' attempts. Kept for at least 24 h after the message's end, and with a message " +
          "archive for as long as that keeps it, then without the attempts. `explain=true` adds why it is in its state. Scope: `read`.",
        security: producerSecurity,
        params: paramsSchema,
        querystring: messageQuerySchema,
        response: { 200: messageStateSchema, ...producerErrors, ...notFoundError },
      },
    },
    async ({ params: { id }, query }) => {
      const found = await findMessage(deps, id);
      if (found === undefined) return describeFromArchive(deps, id);
      const { keys } = found;
      const explain = async (then: FoundMessage, answer: MessageStateAnswer): Promise<MessageStateAnswer> =>
        query.explain === undefined
          ? answer
          : { ...answer, explanation: await awaitAnswer(explainMessage(deps, keys, id, then)) };
      const attemptsNow = (): Promise<FallbackAttempt[]> =>
        awaitAnswer(readAttempts(deps.scripts.redis, keys, id));
      const attempts = await attemptsNow();
      if (found.state !== "queued" || attempts.length === 0) {
        return explain(found, describeMessage(id, found, attempts));
      }
      // Read the state again: an attempt that was settled between the two reads must not stand beside an older state.
      const again = (await findMessage(deps, id)) ?? found;
      return explain(
        again,
        describeMessage(id, again, again.state === "queued" ? attempts : await attemptsNow()),
      );
    },
  );

  app.delete(
    "/v1/messages/:id",
    {
      onRequest: authorize(authenticator, "send"),
      schema: {
        tags: ["messages"],
        summary: "Cancel a message",
        description:
          "A scheduled message is cancelled. A queued one is recalled if no client has acknowledged it and no fallback channel has taken it. " +
          "Otherwise 409, with its state in `details.state`; `details.pushing` says that a channel is being asked to take " +
          "it right now. Already cancelled: 204. Scope: `send`.",
        security: producerSecurity,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: { 204: Type.Null(), ...producerErrors, ...notFoundError, ...conflictError },
      },
    },
    async ({ params: { id } }, reply) => {
      await cancels.cancel(id);
      return reply.code(204).send(null);
    },
  );
}

/** @throws PetrelError PETREL_NOT_FOUND or PETREL_UNAVAILABLE */
async function describeFromArchive({ archive }: MessageRoutesDeps, id: string): Promise<MessageStateAnswer> {
  const row = archive === undefined ? undefined : await askArchive(archive.find(id));
  const answer = row === undefined ? undefined : describeArchived(row);
  if (answer === undefined) throw noSuchMessage();
  return answer;
}

/** @throws PetrelError PETREL_UNAVAILABLE */
async function findMessage(
  { scripts, partitions }: MessageRoutesDeps,
  id: string,
): Promise<(FoundMessage & { readonly keys: PartitionKeys }) | undefined> {
  const partition = partitionOfMessageId(id);
  const keys = partition === undefined ? undefined : partitions[partition];
  const found = keys === undefined ? undefined : await awaitAnswer(readMessage(scripts, keys, id));
  return keys === undefined || found === undefined ? undefined : { ...found, keys };
}
