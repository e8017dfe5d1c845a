// connection-keeper -> here -> {token-source, ticket-source}: picks the credential for the next attempt.
// Guarantees: a ticket if there is `getTicket`, else a token; a refused credential is never used again.
import type { TokenReason } from "./ask-application.js";
import type { ResolvedOptions } from "../client-options.js";
import { TicketSource } from "./ticket-source.js";
import { TokenSource } from "./token-source.js";

export type Credential = { readonly token: string } | { readonly ticket: string };

export class CredentialSource {
  /** Set if there is `getToken`: an open connection can only be renewed with a token. */
  readonly tokens: TokenSource | undefined;
  readonly #tickets: TicketSource | undefined;

  constructor({ getToken, getTicket, timing }: ResolvedOptions) {
    this.tokens = getToken === undefined ? undefined : new TokenSource(getToken, timing.tokenTimeoutMs);
    this.#tickets = getTicket === undefined ? undefined : new TicketSource(getTicket, timing.tokenTimeoutMs);
  }

  /** @throws PetrelClientError `tokenFailed` */
  async next(): Promise<Credential> {
    if (this.#tickets !== undefined) return { ticket: await this.#tickets.next() };
    return { token: (await this.tokens?.current()) ?? "" };
  }

  /** The server refused the last one. */
  refused(): void {
    this.tokens?.invalidate();
    this.#tickets?.becauseOf("refresh");
  }

  /** The client was closed. */
  closed(): void {
    this.tokens?.forget();
  }

  /** Sets the reason that the next call of `getTicket` gets. */
  ticketBecauseOf(reason: TokenReason): void {
    this.#tickets?.becauseOf(reason);
  }
}
