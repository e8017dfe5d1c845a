// connection-keeper -> here -> share-sockets: loads the code for a shared connection, if this browser supports it.
// Guarantees: a page that does not share loads nothing of it; if it cannot be loaded, a tab has a socket of its own.
import type { ResolvedOptions } from "../client-options.js";
import { globalWebSocket } from "../client-options.js";
import type { SocketConstructor } from "../connection/socket.js";
import type { Credential } from "../credentials/credential-source.js";
import type { ShareSockets } from "./share-sockets.js";
import type { ShareEnvironment } from "./share-environment.js";

export class ShareLink {
  readonly #options: ResolvedOptions;
  readonly #wants: () => boolean;
  #loading: Promise<ShareSockets | undefined> | undefined;
  #loaded: ShareSockets | undefined;
  #before: Credential | undefined;

  /** @param wants whether the application listens for messages */
  constructor(options: ResolvedOptions, wants: () => boolean) {
    this.#options = options;
    this.#wants = wants;
  }

  get isWanted(): boolean {
    return this.#options.shared !== undefined;
  }

  /** @returns undefined if this attempt needs a socket of its own */
  async socketFor(credential: Credential): Promise<SocketConstructor | undefined> {
    this.#loading ??= this.#load();
    this.#loaded = await this.#loading;
    // The next attempt may find the network better.
    if (this.#loaded === undefined) this.#loading = undefined;
    return this.#loaded?.socketFor(credential, this.#before);
  }

  /** A connection with this credential was welcomed, shared or not: the client's position is its user's from now on. */
  welcomed(credential: Credential): void {
    if (this.isWanted) this.#before = credential;
  }

  /** The page is left, or the client closed: the other tabs continue without this one. */
  release(): void {
    this.#loaded?.release();
  }

  async #load(): Promise<ShareSockets | undefined> {
    const { shared, urls, ack, timing, credentials } = this.#options;
    const WebSocket = this.#options.WebSocket ?? globalWebSocket();
    const environment = shared?.environment ?? browserEnvironment();
    if (shared === undefined || WebSocket === undefined || environment === undefined) return undefined;
    try {
      // If locks are forbidden, the query fails.
      const [{ ShareSockets }] = await Promise.all([import("./share-sockets.js"), environment.locks.query()]);
      return new ShareSockets({
        urls,
        key: shared.key,
        ack: shared.ack,
        options: { mode: ack, credentials },
        environment,
        WebSocket,
        checkMs: timing.tabCheckMs,
        silentMs: timing.tabSilentMs,
        wants: this.#wants,
      });
    } catch {
      return undefined;
    }
  }
}

/** A page in a secure context has all of these; Node, a worker and an old browser do not. */
function browserEnvironment(): ShareEnvironment | undefined {
  const { navigator, BroadcastChannel, document } = globalThis as {
    readonly navigator?: { readonly locks?: ShareEnvironment["locks"] };
    readonly BroadcastChannel?: ShareEnvironment["Channel"];
    readonly document?: ShareEnvironment["page"];
  };
  const locks = navigator?.locks;
  if (locks === undefined || BroadcastChannel === undefined || document === undefined) return undefined;
  return { locks, Channel: BroadcastChannel, page: document };
}
