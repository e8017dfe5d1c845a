// message-routes, batch-routes, express-lane -> here -> contract/check-message, prepare-messages: a producer's request
// whose body fits its schema.
// Guarantees: on every path, a request is checked, counted and stored by the same code. A bad entry of a batch fails
// alone.
import type { IncomingHttpHeaders } from "node:http";
import { type ErrorBody, PetrelError } from "@petrel/shared/kernel/errors";
import { toPetrelError } from "@petrel/shared/kernel/http/requests/describe-failure";
import type { UnsentAnswer } from "@petrel/shared/kernel/limits/rate-limit-headers";
import type { Producer } from "@petrel/shared/security/producers/authenticate-producer";
import type { AcceptedAnswer } from "../contract/answer-schema.js";
import { checkMessage, type CheckedMessage, countRecipients } from "../contract/check-message.js";
import { MAX_RECIPIENTS, type MessageBody } from "../contract/message-schema.js";
import type { MessageLimits } from "./limit-messages.js";
import type { RequestAcceptance } from "./prepare-messages.js";
import { requireRight } from "./require-right.js";

export interface AcceptMessageDeps {
  readonly requests: Pick<RequestAcceptance, "accept">;
  readonly limits: MessageLimits;
}

/** A validated request. */
interface CheckedRequest<Checked> {
  readonly producer: Producer;
  readonly checked: Checked;
  readonly headers: IncomingHttpHeaders;
  /** Receives the rate limit headers. */
  readonly answer: UnsentAnswer;
}

/** An entry's error, with the status that it would have had alone. */
interface EntryError {
  readonly error: ErrorBody["error"] & { readonly status: number };
}

/** The compiled schema of a message; it fills in the defaults. */
export type ValidateMessage = ((data: unknown) => unknown) & { readonly errors?: unknown };

/**
 * @param body fits messageSchema
 * @throws PetrelError if it breaks a rule, or the producer may not send it
 */
export function checkAllowed(producer: Producer, body: MessageBody): CheckedMessage {
  const checked = checkMessage(body);
  requireRight(producer, checked);
  return checked;
}

/** @throws PetrelError only through the promise: the error for the producer */
export async function acceptMessage(
  { requests, limits }: AcceptMessageDeps,
  { producer, checked, headers, answer }: CheckedRequest<CheckedMessage>,
): Promise<AcceptedAnswer> {
  const waits = limits.take(producer, countRecipients(checked), "body/to", answer);
  if (waits !== undefined) await waits;
  const [accepted] = await requests.accept(producer, [checked], headers.traceparent);
  if (accepted === undefined || accepted instanceof PetrelError) throw accepted;
  return accepted;
}

/**
 * @param entries of a body that fits batchSchema
 * @returns each entry, or what is wrong with it
 * @throws PetrelError if there are too many in total
 */
export function checkBatch(
  producer: Producer,
  entries: readonly unknown[],
  validate: ValidateMessage,
): (CheckedMessage | PetrelError)[] {
  refuseTooManyRecipients(entries);
  return entries.map((entry) => checkEntry(producer, entry, validate));
}

/** @throws PetrelError like acceptMessage */
export async function acceptBatch(
  { requests, limits }: AcceptMessageDeps,
  { producer, checked, headers, answer }: CheckedRequest<readonly (CheckedMessage | PetrelError)[]>,
): Promise<(AcceptedAnswer | EntryError)[]> {
  const good = checked.filter((one): one is CheckedMessage => !(one instanceof PetrelError));
  // A batch without a valid entry still counts as one.
  const recipients = good.reduce((sum, message) => sum + countRecipients(message), 0);
  const waits = limits.take(producer, Math.max(1, recipients), "body/messages", answer);
  if (waits !== undefined) await waits;
  const answers = (await requests.accept(producer, good, headers.traceparent)).values();
  return checked.map((one) =>
    answerEntry(one instanceof PetrelError ? one : (answers.next().value ?? missingAnswer())),
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

function checkEntry(
  producer: Producer,
  entry: unknown,
  validate: ValidateMessage,
): CheckedMessage | PetrelError {
  try {
    return validate(entry) === true
      ? checkAllowed(producer, entry as MessageBody)
      : toPetrelError({ validation: validate.errors, validationContext: "body" });
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
