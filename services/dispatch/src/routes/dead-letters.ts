// /v1/dead-letters: for operators: messages that failed for good: list, show, replay, remove.
// Guarantees: only for the scope admin. A replay is answered 202 only if the message is on its way again. Removing a
// letter changes nothing about its message.
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { conflictError, notFoundError, producerErrors } from "@petrel/shared/kernel/http/error-schema";
import { PetrelError } from "@petrel/shared/kernel/errors";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { DEFAULT_LIMIT, pageFields } from "@petrel/shared/kernel/http/page-query";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";
import { type DeadLetterCause, deadLetterCauses } from "@petrel/shared/protocol/fallback/dead-letter-causes";
import { DEAD_LETTER_ID_PATTERN, parseDeadLetterId } from "@petrel/shared/protocol/fallback/dead-letter-id";
import type { FallbackAttempt } from "@petrel/shared/protocol/fallback/fallback-attempt";
import { NO_SEQ } from "@petrel/shared/protocol/messages/scheduled-message";
import { priorities } from "@petrel/shared/protocol/messages/stored-message";
import type { AuditLog } from "@petrel/shared/redis/auth/audit-log";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { DeadLetter, DeadLettersStore } from "@petrel/shared/redis/fallback/dead-letters-store";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";

export interface DeadLettersDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly deadLetters: DeadLettersStore;
  readonly audit: AuditLog;
  readonly readAttempts: (letter: DeadLetter) => Promise<FallbackAttempt[]>;
  /** A fallback stream has a new entry. */
  readonly onReplayed: () => void;
}

const causeSchema = Type.Union(
  deadLetterCauses.map((cause) => Type.Literal(cause)),
  { type: "string", enum: [...deadLetterCauses] },
);
const idSchema = Type.String({ pattern: DEAD_LETTER_ID_PATTERN, description: "Opaque." });
const paramsSchema = Type.Object({ id: idSchema });

const listQuerySchema = Type.Object(
  {
    cause: Type.Optional(causeSchema),
    ...pageFields(DEAD_LETTER_ID_PATTERN),
  },
  { additionalProperties: false },
);

const letter = {
  id: Type.String(),
  messageId: Type.String(),
  user: Type.String(),
  seq: Type.Optional(Type.Integer({ description: "Absent for `inbox-full`: it got no number." })),
  epoch: Type.Optional(Type.String()),
  cause: Type.String({ description: deadLetterCauses.join(", ") }),
  reason: Type.String({
    description: "How the last attempt ended, or why there was none; human-readable.",
  }),
  attempts: Type.Integer(),
  at: Type.String({ format: "date-time", description: "When it failed." }),
  priority: Type.String({ description: priorities.join(", ") }),
  acceptedAt: timeSchema,
  expiresAt: timeSchema,
};

const pageSchema = Type.Object(
  {
    items: Type.Array(Type.Object(letter, { title: "DeadLetter" }), {
      description: "Newest first, over all partitions.",
    }),
    nextCursor: Type.Union([Type.String(), Type.Null()]),
  },
  { title: "DeadLetterPage" },
);

const shownSchema = Type.Object(
  {
    ...letter,
    notification: Type.Unknown(),
    timeline: Type.Array(
      Type.Object({
        at: timeSchema,
        channel: Type.String(),
        outcome: Type.String(),
        reason: Type.Optional(Type.String()),
        details: Type.Optional(Type.Record(Type.String(), Type.String())),
      }),
      { description: "The last fifty attempts, oldest first." },
    ),
  },
  { title: "DeadLetterInFull" },
);

const tags = ["dead letters"];
const security = producerSecurity;

export function addDeadLetters(app: HttpApp, deps: DeadLettersDeps): void {
  const { authenticator, deadLetters, audit } = deps;
  const onRequest = authorize(authenticator, "admin");

  app.get(
    "/v1/dead-letters",
    {
      onRequest,
      schema: {
        tags,
        summary: "List dead letters, newest first (scope: admin)",
        security,
        querystring: listQuerySchema,
        response: { 200: pageSchema, ...producerErrors },
      },
    },
    async ({ query: { cause, cursor, limit = DEFAULT_LIMIT } }) => {
      const after = cursor === undefined ? undefined : parseDeadLetterId(cursor);
      const { items, next } = await awaitAnswer(
        deadLetters.list(cause as DeadLetterCause | undefined, after, Number(limit)),
      );
      return {
        items: items.map(describeLetter),
        nextCursor: next === undefined ? null : (items.at(-1)?.id ?? null),
      };
    },
  );

  app.get(
    "/v1/dead-letters/:id",
    {
      onRequest,
      schema: {
        tags,
        summary: "Show a dead letter, with what was tried (scope: admin)",
        security,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: { 200: shownSchema, ...producerErrors, ...notFoundError },
      },
    },
    async ({ params: { id } }) => {
      const found = await findLetter(deadLetters, id);
      const attempts = await awaitAnswer(deps.readAttempts(found));
      return {
        ...describeLetter(found),
        notification: parseStored(found.message.notification),
        timeline: attempts.map(({ atMs, ...attempt }) => ({ at: formatTime(atMs), ...attempt })),
      };
    },
  );

  app.delete(
    "/v1/dead-letters/:id",
    {
      onRequest,
      schema: {
        tags,
        summary: "Remove a dead letter (scope: admin)",
        description: "Its message stays failed.",
        security,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: { 204: Type.Null(), ...producerErrors, ...notFoundError },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const place = parseDeadLetterId(id);
      if (place === undefined || !(await awaitAnswer(deadLetters.remove(place)))) throw notFound();
      const by = producerOf(request).keyId;
      request.log.info({ deadLetter: id, by }, "dead letter removed");
      await audit.record({ actor: `key:${by}`, action: "dead-letter.delete", target: id });
      return reply.code(204).send(null);
    },
  );

  app.delete(
    "/v1/dead-letters",
    {
      onRequest,
      schema: {
        tags,
        summary: "Remove all dead letters of a cause (scope: admin)",
        description: "Without `cause`: all of them. Messages that fail meanwhile may stay.",
        security,
        querystring: Type.Object({ cause: Type.Optional(causeSchema) }, { additionalProperties: false }),
        response: { 200: Type.Object({ purged: Type.Integer() }), ...producerErrors },
      },
    },
    async (request) => {
      const { cause } = request.query;
      const purged = await awaitAnswer(deadLetters.purge(cause as DeadLetterCause | undefined));
      const by = producerOf(request).keyId;
      request.log.info({ cause, purged, by }, "dead letters purged");
      await audit.record({
        actor: `key:${by}`,
        action: "dead-letter.purge",
        target: cause ?? "all",
        details: { purged },
      });
      return { purged };
    },
  );

  app.post(
    "/v1/dead-letters/:id/replay",
    {
      onRequest,
      schema: {
        tags,
        summary: "Retry a message whose fallback failed (scope: admin)",
        description:
          "Starts with a first attempt and removes the dead letter. 409 if the message has ended otherwise meanwhile.",
        security,
        params: paramsSchema,
        querystring: noQuerySchema,
        response: {
          202: Type.Object({ id: Type.String({ description: "The message's id." }) }),
          ...producerErrors,
          ...notFoundError,
          ...conflictError,
        },
      },
    },
    async (request, reply) => {
      const found = await findLetter(deadLetters, request.params.id);
      const outcome = await awaitAnswer(deadLetters.replay(found));
      if (outcome === "unknown") throw notFound();
      if (outcome !== "replayed") {
        const state = outcome === "forgotten" ? "gone: its time is long over" : outcome;
        throw new PetrelError("PETREL_CONFLICT", `The message is ${state}; it was not sent again.`, {
          details: { state: outcome },
        });
      }
      deps.onReplayed();
      const { id } = found.message;
      const by = producerOf(request).keyId;
      request.log.info({ deadLetter: found.id, messageId: id, by }, "dead letter replayed");
      await audit.record({
        actor: `key:${by}`,
        action: "dead-letter.replay",
        target: found.id,
        details: { message: id, cause: found.cause },
      });
      return reply.code(202).send({ id });
    },
  );
}

/** @throws PetrelError PETREL_NOT_FOUND or PETREL_UNAVAILABLE */
async function findLetter(deadLetters: DeadLettersStore, id: string): Promise<DeadLetter> {
  const place = parseDeadLetterId(id);
  const found = place === undefined ? undefined : await awaitAnswer(deadLetters.find(place));
  if (found === undefined) throw notFound();
  return found;
}

function notFound(): PetrelError {
  return new PetrelError("PETREL_NOT_FOUND", "There is no such dead letter (any more).");
}

function describeLetter({ id, message, cause, reason, attempts, failedAtMs }: DeadLetter) {
  return {
    id,
    messageId: message.id,
    user: message.userId,
    ...(message.seq === NO_SEQ ? {} : { seq: message.seq, epoch: message.epoch }),
    cause,
    reason,
    attempts,
    at: formatTime(failedAtMs),
    priority: message.priority,
    acceptedAt: formatTime(message.atMs),
    expiresAt: formatTime(message.expiresAtMs),
  };
}

function parseStored(notification: string): unknown {
  return notification === "" ? null : (JSON.parse(notification) as unknown);
}
