// {token-source, ticket-source} -> here -> the application's callback: asks it for a credential.
// Guarantees: returns a well-formed credential or an error, in bounded time; a callback may throw or reject alike.
import { clientErrorCodes, describeFailure, PetrelClientError } from "../client-error.js";
import { within } from "../deadline.js";

/** `connect`: none yet · `refresh`: the server refused the last one · `expiring`: it soon runs out */
export type TokenReason = "connect" | "refresh" | "expiring";
export type AskForCredential = (request: { readonly reason: TokenReason }) => string | Promise<string>;

export interface Question {
  /** The name of its option, for the error. */
  readonly name: "getToken" | "getTicket";
  readonly ask: AskForCredential;
  readonly timeoutMs: number;
}

/** The characters a handshake's header can carry (RFC 9110, section 5.6.2). Tokens and tickets use some of them. */
const credentialForm = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** @throws PetrelClientError `tokenFailed` */
export async function askApplication(
  { name, ask, timeoutMs }: Question,
  reason: TokenReason,
): Promise<string> {
  try {
    const asked = Promise.resolve().then(() => ask({ reason }));
    const answer: unknown = await within(asked, timeoutMs);
    if (typeof answer !== "string" || answer === "") throw new Error("it did not return a string");
    // Not shown: it may contain a credential.
    if (!credentialForm.test(answer))
      throw new Error("what it returned is not a credential; is it an error page?");
    return answer;
  } catch (error) {
    if ((error as { readonly stop?: unknown } | null | undefined)?.stop === true) {
      const message = `${name} says stop: ${describeFailure(error)}`;
      throw new PetrelClientError(clientErrorCodes.signedOut, message, { retryable: false, cause: error });
    }
    const message = `${name} failed: ${describeFailure(error)}`;
    throw new PetrelClientError(clientErrorCodes.tokenFailed, message, { retryable: true, cause: error });
  }
}
