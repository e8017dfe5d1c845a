// Where the client's access token comes from: the application's callback, and the newest answer of it.
// Guarantees: a token is used until it is refused or replaced, so that a crowd of reconnects asks for no tokens; an
// answer that comes late replaces neither the answer to a later question nor a token's refusal.
import { askApplication, type AskForCredential, type TokenReason } from "./ask-application.js";

export type { TokenReason };
export type GetToken = AskForCredential;

export class TokenSource {
  readonly #getToken: GetToken;
  readonly #timeoutMs: number;
  #token: string | undefined;
  #reason: TokenReason = "connect";
  /** Questions so far. */
  #asked = 0;
  /** The question whose answer the token is; a refusal counts as the answer to all before it. */
  #answered = 0;

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
    this.#answered = this.#asked;
  }

  /**
   * @returns the answer, or a newer one that has come meanwhile
   * @throws PetrelClientError `tokenFailed`
   */
  async fetch(reason: TokenReason): Promise<string> {
    const question = { name: "getToken", ask: this.#getToken, timeoutMs: this.#timeoutMs } as const;
    const number = ++this.#asked;
    const token = await askApplication(question, reason);
    if (number > this.#answered) {
      this.#answered = number;
      this.#token = token;
    }
    return this.#token ?? token;
  }
}
