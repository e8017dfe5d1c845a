// upstream -> here -> one tab after the other: which tab brings a fresh token for the shared connection, and which one
// is told when the server refuses it.
// Guarantees: one tab is asked at a time; if its `getToken` fails, another is asked in time. A verdict about a
// credential reaches only the tab that brought it.

export interface TokenTurnsOptions {
  readonly say: (socket: string, text: string) => void;
  /** Who can be asked. */
  readonly sockets: () => readonly string[];
}

export class TokenTurns {
  readonly #options: TokenTurnsOptions;
  /** The tab whose token is in use. */
  #owner: string;
  #giver: { readonly socket: string; readonly tab: string } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #asked = new Set<string>();

  constructor(owner: string, options: TokenTurnsOptions) {
    this.#owner = owner;
    this.#options = options;
  }

  /**
   * The tab that a verdict about a token concerns: the one that has just brought one, otherwise the one whose token is
   * in use.
   */
  get liable(): string {
    return this.#giver?.tab ?? this.#owner;
  }

  get isAsking(): boolean {
    return this.#asked.size > 0;
  }

  /** The token expires in this many seconds. */
  ask(inSeconds: number): void {
    clearTimeout(this.#timer);
    const sockets = this.#options.sockets();
    const isOwners = (socket: string): boolean => socket.startsWith(`${this.#owner}.`);
    const free = sockets.filter((socket) => !this.#asked.has(socket));
    const next = free.find(isOwners) ?? free.at(0);
    if (next === undefined) {
      this.#asked.clear();
      return;
    }
    this.#asked.add(next);
    this.#options.say(next, JSON.stringify({ type: "token_expiring", inSeconds }));
    // Short tokens wait for half of the remaining time before they are renewed.
    const waitSeconds = inSeconds * 0.6;
    this.#timer = setTimeout(() => this.ask(inSeconds - waitSeconds), waitSeconds * 1_000);
  }

  /** This tab has brought a token. */
  given(socket: string, tab: string): void {
    this.#giver = { socket, tab };
  }

  accepted(): void {
    this.#owner = this.liable;
    this.#giver = undefined;
    this.stop();
  }

  /** The server could not check it. */
  refused(text: string): void {
    const giver = this.#giver;
    this.#giver = undefined;
    if (giver !== undefined) this.#options.say(giver.socket, text);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#asked.clear();
  }
}

/** Concerns the token, or the session, that the connection was opened with. */
const ofCredential = /^PETREL_(TOKEN|TICKET|SESSION|UNAUTHENTICATED|UNAUTHORIZED|USER_CHANGED|AUTH)/;
const TOKEN_REFUSED = 4401;
const REVOKED = 4403;

/** @param error the code of the server's last error */
export function ownerOnly(code: number, error: string | undefined): boolean {
  return code === TOKEN_REFUSED || (code === REVOKED && error !== undefined && ofCredential.test(error));
}
