// Where the client's access token comes from: the application's callback, and the last answer of it.
// Guarantees: a token is used until it is refused or replaced, so that a crowd of reconnects asks for no tokens.
import { askApplication, type AskForCredential, type TokenReason } from "./ask-application.js";

export type { TokenReason };
export type GetToken = AskForCredential;

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
    const question = { name: "getToken", ask: this.#getToken, timeoutMs: this.#timeoutMs } as const;
    this.#token = await askApplication(question, reason);
    return this.#token;
  }
}
