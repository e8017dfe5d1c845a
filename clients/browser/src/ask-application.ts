// {token-source, ticket-source} -> here -> the application's callback: asks it for a credential.
// Guarantees: an answer that is text, or an error, in bounded time; a callback that throws is the same as one that
// rejects.
import { clientErrorCodes, describeFailure, PetrelClientError } from "./client-error.js";

/** `connect`: none yet · `refresh`: the server refused the last one · `expiring`: it soon runs out */
export type TokenReason = "connect" | "refresh" | "expiring";

export type AskForCredential = (request: { readonly reason: TokenReason }) => string | Promise<string>;

export interface Question {
  /** The option it came as, for the error. */
  readonly name: "getToken" | "getTicket";
  readonly ask: AskForCredential;
  readonly timeoutMs: number;
}

/** @throws PetrelClientError `tokenFailed` */
export async function askApplication(
  { name, ask, timeoutMs }: Question,
  reason: TokenReason,
): Promise<string> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    const asked = Promise.resolve().then(() => ask({ reason }));
    const answer: unknown = await Promise.race([asked, tooLate]);
    if (typeof answer !== "string" || answer === "") throw new Error("it gave no text");
    return answer;
  } catch (error) {
    const message = `${name} failed: ${describeFailure(error)}`;
    throw new PetrelClientError(clientErrorCodes.tokenFailed, message, { retryable: true, cause: error });
  } finally {
    clearTimeout(timer);
  }
}
