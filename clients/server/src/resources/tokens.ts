// petrel -> here -> auth: tokens of users, and tickets. docs/receive/tokens.md.
import type { ServiceCaller } from "../requests/service-caller.js";

export type TopicRight = "subscribe" | "publish" | "presence";

/** A plain pattern such as "room.*" grants subscribe. */
export type TopicGrant = string | { readonly topic: string; readonly can: readonly TopicRight[] };

export interface TokenRequest {
  readonly userId: string;
  readonly device?: { readonly id: string; readonly platform: string } | undefined;
  readonly topics?: readonly TopicGrant[] | undefined;
  readonly ttlSeconds?: number | undefined;
}

export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly expiresIn: number;
  readonly tokenType: "Bearer";
}

export interface Ticket {
  readonly ticket: string;
  readonly expiresIn: number;
}

export type Revocation =
  | { readonly userId: string }
  | { readonly jti: string; readonly exp?: number | undefined }
  | { readonly token: string };

/** A spent refresh token is answered again for 10 s; after that, it would end the session. */
const REFRESH_TIMEOUT_MS = 8_000;

export class TokensApi {
  readonly #caller: ServiceCaller;

  constructor(caller: ServiceCaller) {
    this.#caller = caller;
  }

  /** Scope: `tokens`. A retry may make tokens that nobody ever sees. */
  async create(request: TokenRequest): Promise<Tokens> {
    return (await this.#caller.call("auth", "POST", "/v1/tokens", { body: request })) as unknown as Tokens;
  }

  async refresh(refreshToken: string): Promise<Tokens> {
    const body = { refreshToken };
    const options = { body, timeoutMs: REFRESH_TIMEOUT_MS };
    return (await this.#caller.call("auth", "POST", "/v1/tokens/refresh", options)) as unknown as Tokens;
  }

  /** Revokes all tokens of a user, one by its `jti`, or one that you hold. Scope: `tokens`. */
  async revoke(revocation: Revocation): Promise<void> {
    await this.#caller.call("auth", "POST", "/v1/tokens/revoke", { body: revocation });
  }

  /** For `?ticket=` of a push node: works once, for 30 s. @param accessToken of the user */
  async createTicket(accessToken: string): Promise<Ticket> {
    const options = { userToken: accessToken };
    return (await this.#caller.call("auth", "POST", "/v1/tickets", options)) as unknown as Ticket;
  }
}
