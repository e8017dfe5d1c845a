// Gets tickets from the application's callback.
// Guarantees: each attempt gets its own ticket, since a ticket works once.
import { askApplication, type AskForCredential, type TokenReason } from "./ask-application.js";

export type GetTicket = AskForCredential;

export class TicketSource {
  readonly #getTicket: GetTicket;
  readonly #timeoutMs: number;
  #reason: TokenReason = "connect";

  constructor(getTicket: GetTicket, timeoutMs: number) {
    this.#getTicket = getTicket;
    this.#timeoutMs = timeoutMs;
  }

  /** The reason that the next call gets. */
  becauseOf(reason: TokenReason): void {
    this.#reason = reason;
  }

  /** @throws PetrelClientError `tokenFailed` */
  async next(): Promise<string> {
    const question = { name: "getTicket", ask: this.#getTicket, timeoutMs: this.#timeoutMs } as const;
    const reason = this.#reason;
    // Reset before the answer: if a ticket is refused meanwhile, the next call must get that reason.
    this.#reason = "connect";
    try {
      return await askApplication(question, reason);
    } catch (error) {
      if (this.#reason === "connect") this.#reason = reason;
      throw error;
    }
  }
}
