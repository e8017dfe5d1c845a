// Gets access tokens from the application's callback, and keeps the newest one.
// Guarantees: a token is used until it is refused or replaced, so a crowd of reconnects asks for none; but never after
// `close()`. A late answer replaces neither the answer to a later call nor a refusal.
import { askApplication, type AskForCredential, type TokenReason } from "./ask-application.js";

export type { TokenReason };
export type GetToken = AskForCredential;

export class TokenSource {
  readonly #getToken: GetToken;
  readonly #timeoutMs: number;
  #token: string | undefined;
  #reason: TokenReason = "connect";
  /** Calls so far. */
  #asked = 0;
  /** The call that the token came from. A refusal counts as the answer to all calls before it. */
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

  /** The client was closed: whoever starts it again may be a different user. */
  forget(): void {
    if (this.#token !== undefined) this.#reason = "connect";
    this.#token = undefined;
    this.#answered = this.#asked;
  }

  /**
   * @returns the answer, or a newer one that arrived meanwhile
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
