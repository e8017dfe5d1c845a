// connection-keeper -> here -> credential-source: renews the open connection's credential before it expires.
// Guarantees: one timer at a time; nothing is sent for a connection that is no longer the open one; after `stop`,
// nothing begun earlier is reported.
import type { PetrelClientError } from "../client-error.js";
import type { Connection } from "../connection/connection.js";
import type { CredentialSource } from "./credential-source.js";

export interface TokenRenewalOptions {
  readonly credentials: CredentialSource;
  readonly isOpen: (connection: Connection) => boolean;
  /** A fresh ticket needs a new connection. */
  readonly onTicketDue: () => void;
  readonly onError: (error: PetrelClientError) => void;
}

/** The server warns 30 s before a token expires. With less than this left, the token was short-lived from the start. */
const USUAL_NOTICE_SECONDS = 25;
/** The wait before a token that could not be checked is sent again: one to two times this. */
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

  /** The token is about to expire. A fresh one goes over the open connection, or a fresh ticket opens a new one. */
  expires(connection: Connection, inSeconds: number): void {
    // Wait for half of the time left, so that a token that lasts seconds is not requested every second.
    const waitMs = inSeconds < USUAL_NOTICE_SECONDS ? inSeconds * 500 : 0;
    this.#later(connection, waitMs, () => {
      const { tokens } = this.#options.credentials;
      if (tokens === undefined) this.#options.onTicketDue();
      else void this.#send(connection, tokens.fetch("expiring"));
    });
  }

  /** The server could not check the fresh token. Try again while the old one is valid. */
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
      // Not fatal: when the token expires, 4401 makes the client ask again.
      if (stops === this.#stops) this.#options.onError(error as PetrelClientError);
    }
  }
}
