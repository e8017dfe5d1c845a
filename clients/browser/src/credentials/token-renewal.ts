// connection-keeper -> here -> credential-source: a fresh credential, before that of the open connection runs out.
// Guarantees: one timer at a time; nothing is sent for a connection that is not the open one any more; after `stop`,
// nothing that was begun before is reported.
import type { PetrelClientError } from "../client-error.js";
import type { Connection } from "../connection/connection.js";
import type { CredentialSource } from "./credential-source.js";

export interface TokenRenewalOptions {
  readonly credentials: CredentialSource;
  readonly isOpen: (connection: Connection) => boolean;
  /** Only a new connection can bring a fresh ticket. */
  readonly onTicketDue: () => void;
  readonly onError: (error: PetrelClientError) => void;
}

/** The server tells of a token's end with 30 s left; with fewer than this, the token was short from the start. */
const USUAL_NOTICE_SECONDS = 25;
/** Before a token that could not be checked is sent again: this, up to twice this. */
const AGAIN_MS = 2_000;

export class TokenRenewal {
  readonly #options: TokenRenewalOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stops = 0;

  constructor(options: TokenRenewalOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#stops++;
    clearTimeout(this.#timer);
  }

  /** The token soon runs out: a fresh one goes over the open connection, or a fresh ticket makes a new one. */
  expires(connection: Connection, inSeconds: number): void {
    // Half of what is left is used first, so that a token which lasts seconds is not asked for every second.
    const waitMs = inSeconds < USUAL_NOTICE_SECONDS ? inSeconds * 500 : 0;
    this.#later(connection, waitMs, () => {
      const { tokens } = this.#options.credentials;
      if (tokens === undefined) this.#options.onTicketDue();
      else void this.#send(connection, tokens.fetch("expiring"));
    });
  }

  /** The server could not look at the fresh token: once more, while the old one is good. */
  notChecked(connection: Connection): void {
    const { tokens } = this.#options.credentials;
    if (tokens === undefined) return;
    this.#later(connection, AGAIN_MS * (1 + Math.random()), () => {
      void this.#send(connection, tokens.current());
    });
  }

  #later(connection: Connection, waitMs: number, renew: () => void): void {
    const { isOpen } = this.#options;
    if (!isOpen(connection)) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (isOpen(connection)) renew();
    }, waitMs);
  }

  async #send(connection: Connection, fetched: Promise<string>): Promise<void> {
    const stops = this.#stops;
    try {
      connection.send({ type: "token", token: await fetched });
    } catch (error) {
      // Not the end: when the token has run out, 4401 makes the client ask again.
      if (stops === this.#stops) this.#options.onError(error as PetrelClientError);
    }
  }
}
