// A producer's request -> here -> check-message -> prepare-messages: many messages in one request.
// Guarantees: a bad entry fails alone; entries for one user or topic keep their order; all share the same few calls of Redis.
import { type ErrorBody, PetrelError } from "@petrel/shared/kernel/errors";
import { type HttpApp, toPetrelError } from "@petrel/shared/kernel/http/http-app";
import type {
  Producer,
  ProducerAuthenticator,
} from "@petrel/shared/security/producers/authenticate-producer";
import type { FastifyRequest } from "fastify";
import type { RequestAcceptance } from "../accept/prepare-messages.js";
import { type AcceptedAnswer, batchAcceptedSchema } from "../contract/answer-schema.js";
import { authorize, producerOf } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import { checkMessage, type CheckedMessage, countRecipients } from "../contract/check-message.js";
import { requireRight } from "../accept/require-right.js";
import type { MessageLimits } from "../accept/limit-messages.js";
import { sendErrors } from "@petrel/shared/kernel/http/error-schema";
import { batchSchema, MAX_RECIPIENTS, type MessageBody, messageSchema } from "../contract/message-schema.js";
import { noQuerySchema } from "@petrel/shared/kernel/http/no-query-schema";

export interface BatchRoutesDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly requests: RequestAcceptance;
  readonly limits: MessageLimits;
}

/** An entry's error, with the status it would have had alone. */
interface EntryError {
  readonly error: ErrorBody["error"] & { readonly status: number };
}

export function addBatchRoutes(app: HttpApp, { authenticator, requests, limits }: BatchRoutesDeps): void {
  app.post(
    "/v1/messages/batch",
    {
      onRequest: authorize(authenticator, "send"),
      preParsing: limits.refuseEarly,
      schema: {
        tags: ["messages"],
        summary: "Send many messages at once",
        description:
          "Each entry is checked and stored by itself. Scope: `send`. The body may be gzip, 8 MiB unpacked.",
        security: producerSecurity,
        body: batchSchema,
        querystring: noQuerySchema,
        response: { 202: batchAcceptedSchema, ...sendErrors },
      },
    },
    async (request, reply) => {
      const { messages } = request.body;
      refuseTooManyRecipients(messages);
      const producer = producerOf(request);
      const checked = messages.map((entry) => checkEntry(request, producer, entry));
      const good = checked.filter((one): one is CheckedMessage => !(one instanceof PetrelError));
      // A batch without a valid entry still counts as one.
      const recipients = good.reduce((sum, message) => sum + countRecipients(message), 0);
      const waits = limits.take(producer, Math.max(1, recipients), "body/messages", reply);
      if (waits !== undefined) await waits;
      const answers = (await requests.accept(producer, good, request.headers.traceparent)).values();
      const results = checked.map((one) =>
        answerEntry(one instanceof PetrelError ? one : (answers.next().value ?? missingAnswer())),
      );
      reply.code(202);
      return { results };
    },
  );
}

function refuseTooManyRecipients(entries: readonly unknown[]): void {
  let recipients = 0;
  for (const entry of entries) {
    const users = (entry as { to?: { users?: unknown } | null } | null)?.to?.users;
    recipients += Array.isArray(users) ? users.length : 1;
  }
  if (recipients <= MAX_RECIPIENTS) return;
  throw new PetrelError(
    "PETREL_INVALID_REQUEST",
    `body/messages: must NOT have more than ${MAX_RECIPIENTS} recipients in total, not ${recipients}`,
    { details: { field: "body/messages", recipients } },
  );
}

/** With the validator of POST /v1/messages, which is compiled once. */
function checkEntry(
  request: FastifyRequest,
  producer: Producer,
  entry: unknown,
): CheckedMessage | PetrelError {
  const validate = request.compileValidationSchema(messageSchema, "body");
  try {
    if (validate(entry)) {
      const checked = checkMessage(entry as MessageBody);
      requireRight(producer, checked);
      return checked;
    }
    return toPetrelError({ validation: validate.errors, validationContext: "body" });
  } catch (error) {
    return toPetrelError(error);
  }
}

function answerEntry(answer: AcceptedAnswer | PetrelError): AcceptedAnswer | EntryError {
  if (!(answer instanceof PetrelError)) return answer;
  return { error: { ...answer.toBody().error, status: answer.status } };
}

function missingAnswer(): never {
  throw new Error("a message has no answer");
}
