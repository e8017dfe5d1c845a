// Where the client's access token comes from: the application's callback, and the last answer of it.
// Guarantees: a token is used until it is refused or replaced, so that a crowd of reconnects asks for no tokens.
import { clientErrorCodes, describeFailure, PetrelClientError } from "./client-error.js";

/** `connect`: none yet · `refresh`: the server refused the last one · `expiring`: it soon runs out */
export type TokenReason = "connect" | "refresh" | "expiring";

export type GetToken = (request: { readonly reason: TokenReason }) => string | Promise<string>;

export class TokenSource {
  readonly #getToken: GetToken;
  readonly #timeoutMs: number;
  #token: string | undefined;
  #reason: TokenReason = "connect";

  constructor(getToken: GetToken, timeoutMs: number) {
    this.#getToken = getToken;
    this.#timeoutMs = timeoutMs;
  }

  /** @throws PetrelClientError `tokenFailed` */
  async current(): Promise<string> {
    return this.#token ?? (await this.fetch(this.#reason));
  }

  /** The last token was refused. */
  invalidate(): void {
    this.#token = undefined;
    this.#reason = "refresh";
  }

  /** @throws PetrelClientError `tokenFailed` */
  async fetch(reason: TokenReason): Promise<string> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tooLate = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${this.#timeoutMs} ms`)), this.#timeoutMs);
    });
    try {
      // Called inside a then, so that a callback that throws is the same as one that is rejected.
      const asked = Promise.resolve().then(() => this.#getToken({ reason }));
      const token: unknown = await Promise.race([asked, tooLate]);
      if (typeof token !== "string" || token === "") throw new Error("it gave no text");
      this.#token = token;
      return token;
    } catch (error) {
      const message = `getToken failed: ${describeFailure(error)}`;
      throw new PetrelClientError(clientErrorCodes.tokenFailed, message, { retryable: true, cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}
