// connection-keeper -> here -> {token-source, ticket-source}: what the next attempt to connect brings.
// Guarantees: a ticket where there is `getTicket`, else a token; a refused one is never used again.
import type { TokenReason } from "./ask-application.js";
import type { ResolvedOptions } from "../client-options.js";
import { TicketSource } from "./ticket-source.js";
import { TokenSource } from "./token-source.js";

export type Credential = { readonly token: string } | { readonly ticket: string };

export class CredentialSource {
  /** Where there is `getToken`: what goes over an open connection is a token. */
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

  /** What the next ticket is asked for with. */
  ticketBecauseOf(reason: TokenReason): void {
    this.#tickets?.becauseOf(reason);
  }
}
