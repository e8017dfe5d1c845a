// Keeps the client connected: opens, waits, reopens, moves, and stops when the close code says so.
// Guarantees: at most one attempt and one timer at a time; after `stop`, nothing begun earlier has an effect.
import { clientErrorCodes, connectFailed, describeFailure, PetrelClientError } from "./client-error.js";
import type { ClientState, ClosedEvent, OfflineEvent, StateFacts } from "./client-events.js";
import type { Positions, ResolvedOptions } from "./client-options.js";
import { AttemptWait } from "./connection/attempt-wait.js";
import {
  CLIENT_LEAVES_SOCKET,
  nextStep,
  NORMAL_CLOSURE,
  REPLACED,
  SERVICE_RESTART,
  type NextStep,
} from "./connection/close-policy.js";
import type { Connection, ConnectionEnd } from "./connection/connection.js";
import { CredentialSource, type Credential } from "./credentials/credential-source.js";
import type { ReconnectFrame, WelcomeFrame } from "./frames.js";
import { openConnection, type OpenedBy } from "./open-connection.js";
import { NetworkWatch } from "./connection/network-watch.js";
import type { SocketConstructor } from "./connection/socket.js";
import { PageWatch } from "./connection/page-watch.js";
import { ShareLink } from "./share/share-link.js";
import { RetrySchedule } from "./connection/retry-schedule.js";
import { TokenRenewal } from "./credentials/token-renewal.js";

export interface KeeperEvents extends Pick<OpenedBy, "onFrame" | "onBadFrame"> {
  readonly onState: (state: ClientState, facts: StateFacts) => void;
  /** @param moved whether it replaced an open connection, so the client was never offline */
  readonly onWelcome: (connection: Connection, welcome: WelcomeFrame, moved: boolean) => void;
  readonly onOffline: (event: OfflineEvent) => void;
  readonly onError: (error: PetrelClientError) => void;
  /** The page is left or hidden, or the network goes down: whatever must reach the server has to be sent now. */
  readonly onLeaving: () => void;
  /** The page may be visible again. */
  readonly onSeen: () => void;
  /** Whether the application listens for messages. */
  readonly wantsMessages: () => boolean;
  /** The server, or the application's `getToken`, said stop. */
  readonly onRefused: (event: ClosedEvent) => void;
}

export class ConnectionKeeper {
  readonly #options: ResolvedOptions;
  readonly #events: KeeperEvents;
  readonly #positions: () => Positions;
  readonly #credentials: CredentialSource;
  readonly #share: ShareLink;
  readonly #renewal: TokenRenewal;
  readonly #retry: RetrySchedule;
  readonly #network: NetworkWatch;
  readonly #page: PageWatch;
  /** Welcomed, and read from. During a move it lives beside the attempt that will replace it. */
  #active: Connection | undefined;
  #attempt: Connection | undefined;
  /** Preparing an attempt: waiting for its credential. */
  #preparing = false;
  readonly #wait = new AttemptWait(() => void this.#open());
  /** The page is in the back/forward cache. */
  #isShelved = false;
  /** An attempt was made beside the open connection. If that is replaced, this client may have replaced it itself. */
  #triedBeside = false;
  #urlIndex = 0;
  /** How the last connection, or attempt at one, ended. */
  #lastEnd: OfflineEvent | undefined;
  /** Rises with every start and stop, so that older work can see that it is stale. */
  #run = 0;

  /** @param positions read at each attempt, to resume after them */
  constructor(options: ResolvedOptions, positions: () => Positions, events: KeeperEvents) {
    const { timing } = options;
    this.#options = options;
    this.#events = events;
    this.#positions = positions;
    this.#credentials = new CredentialSource(options);
    this.#share = new ShareLink(options, events.wantsMessages);
    this.#renewal = new TokenRenewal({
      credentials: this.#credentials,
      isOpen: (connection) => connection === this.#active,
      onTicketDue: () => this.#ticketDue(),
      onError: (error) => this.#credentialFailed(error),
    });
    this.#retry = new RetrySchedule({
      normal: { baseMs: timing.backoffBaseMs, capMs: timing.backoffCapMs },
      long: { baseMs: timing.longBackoffBaseMs, capMs: timing.longBackoffCapMs },
      stableAfterMs: timing.stableAfterMs,
      addresses: options.urls.length,
    });
    this.#network = new NetworkWatch(options.networkEvents, {
      onDown: () => this.#networkDown(),
      onUp: () => this.#networkUp(),
    });
    this.#page = new PageWatch({
      onSeen: () => this.#pageSeen(),
      onHide: events.onLeaving,
      onShelved: () => this.#pageShelved(),
      onTakenOut: () => this.#pageTakenOut(),
    });
  }

  start(): void {
    this.#run++;
    this.#lastEnd = undefined;
    this.#retry.reset();
    this.#network.start();
    this.#page.start();
    void this.#open();
  }

  /**
   * Ends the attempt and the timer, and releases the open connection.
   * @returns closes that connection; call it once the last ack is written
   */
  stop(reason: string): () => Promise<void> {
    this.#network.stop();
    this.#page.stop();
    this.#isShelved = false;
    this.#credentials.closed();
    const close = this.#letGo(NORMAL_CLOSURE, reason);
    const run = this.#run;
    return async () => {
      await close();
      if (run === this.#run) this.#share.release();
    };
  }

  /** Ends everything in progress. @returns a function that closes the previously open connection, with this code */
  #letGo(code: number, reason: string): () => Promise<void> {
    const { closeGraceMs } = this.#options.timing;
    const [active, attempt] = [this.#active, this.#attempt];
    this.#run++;
    this.#active = undefined;
    this.#attempt = undefined;
    this.#preparing = false;
    this.#wait.end();
    this.#renewal.stop();
    const attemptClosed = attempt?.close(CLIENT_LEAVES_SOCKET, reason, closeGraceMs);
    return async () => {
      await Promise.all([attemptClosed, active?.close(code, reason, closeGraceMs)]);
    };
  }

  /** The server asks to move: opens a new connection after `afterMs`, and reads this one until that is welcomed. */
  move(connection: Connection, { afterMs, local }: Pick<ReconnectFrame, "afterMs" | "local">): void {
    if (connection !== this.#active) return;
    if (local) {
      this.#moveAmongTabs();
      return;
    }
    if (this.#isUnderWay()) return;
    this.#urlIndex++;
    this.#schedule(this.#retry.moveDelayMs(afterMs), { mayHurry: false });
  }

  /** Another tab holds the connection now: no error, and no reason to wait. */
  #moveAmongTabs(): void {
    if (this.#preparing || this.#attempt !== undefined) return;
    this.#wait.end();
    void this.#open();
  }

  /** The token is about to expire. */
  tokenExpires(connection: Connection, inSeconds: number): void {
    this.#renewal.expires(connection, inSeconds);
  }

  /** The server could not check the fresh token. */
  tokenNotChecked(connection: Connection): void {
    this.#renewal.notChecked(connection);
  }

  #ticketDue(): void {
    if (this.#isUnderWay()) return;
    this.#credentials.ticketBecauseOf("expiring");
    this.#schedule(this.#retry.moveDelayMs(0), { mayHurry: true });
  }

  async #open(): Promise<void> {
    const run = this.#run;
    this.#preparing = true;
    this.#tell(this.#active === undefined ? "connecting" : "online");
    // A listener may have closed the client: check here and after each event below.
    if (run !== this.#run) return;
    try {
      const credential = await this.#credentials.next();
      if (run !== this.#run) return;
      const shared = this.#share.isWanted ? await this.#share.socketFor(credential) : undefined;
      if (run !== this.#run) return;
      this.#attempt = this.#connect(credential, shared);
      this.#preparing = false;
    } catch (error) {
      if (run !== this.#run) return;
      this.#preparing = false;
      const isTokens = error instanceof PetrelClientError;
      // The WebSocket constructor throws for a token with invalid characters.
      if (!isTokens) this.#credentials.refused();
      if (isTokens) this.#credentialFailed(error);
      else this.#events.onError(connectFailed(describeFailure(error), error));
      if (run === this.#run) this.#retryAfter("resume");
    }
  }

  #credentialFailed(error: PetrelClientError): void {
    if (error.code !== clientErrorCodes.signedOut) {
      this.#events.onError(error);
      return;
    }
    this.#credentials.refused();
    const { code, message } = error;
    this.#events.onRefused({
      code: NORMAL_CLOSURE,
      reason: "nobody is signed in",
      byClient: true,
      error: { code, message },
    });
  }

  #tell(state: ClientState, retryInMs?: number): void {
    const why = this.#lastEnd === undefined ? {} : { reason: this.#lastEnd };
    this.#events.onState(state, {
      attempt: this.#retry.failures,
      ...why,
      ...(retryInMs === undefined ? {} : { retryInMs }),
    });
  }

  /** @param shared stands for the connection shared by all tabs */
  #connect(credential: Credential, shared: SocketConstructor | undefined): Connection {
    this.#triedBeside = this.#active !== undefined;
    return openConnection(this.#options, {
      url: this.#options.urls[this.#urlIndex % this.#options.urls.length] ?? "",
      credential,
      shared,
      positions: this.#positions(),
      onWelcome: (connection, welcome) => {
        this.#share.welcomed(credential);
        this.#welcomed(connection, welcome);
      },
      onFrame: this.#events.onFrame,
      onBadFrame: this.#events.onBadFrame,
      onEnd: (connection, end) => this.#ended(connection, end),
    });
  }

  #welcomed(connection: Connection, welcome: WelcomeFrame): void {
    const previous = this.#active;
    this.#attempt = undefined;
    this.#active = connection;
    this.#triedBeside = false;
    this.#retry.opened();
    void previous?.close(CLIENT_LEAVES_SOCKET, "moved", this.#options.timing.closeGraceMs);
    this.#events.onWelcome(connection, welcome, previous !== undefined);
  }

  #ended(connection: Connection, end: ConnectionEnd): void {
    const run = this.#run;
    const { code, reason, error } = end;
    this.#lastEnd = { code, reason };
    const wasActive = connection === this.#active;
    if (wasActive) this.#active = undefined;
    else if (connection === this.#attempt) this.#attempt = undefined;
    else return;
    if (!wasActive && error === undefined) {
      const why = reason === "" ? "refused, or unreachable" : reason;
      this.#events.onError(connectFailed(`${why} (${code})`));
      if (run !== this.#run) return;
    }
    const step = this.#stepAfter(end, wasActive);
    if (step === "stop") {
      this.#credentials.refused();
      const why = error === undefined ? {} : { error: { code: error.code, message: error.message } };
      this.#events.onRefused({ code, reason, byClient: false, ...why });
      return;
    }
    if (step === "refresh") this.#credentials.refused();
    if (this.#preparing || this.#attempt !== undefined) this.#tell("connecting");
    // The server set a time to return, then closed early. Keep that time: it spreads a crowd.
    else if (this.#wait.isOn && code === SERVICE_RESTART) this.#tell("waiting");
    else this.#retryAfter(step);
    if (wasActive && run === this.#run) this.#events.onOffline({ code, reason });
  }

  #stepAfter(end: ConnectionEnd, wasActive: boolean): NextStep {
    // During a move, our own new socket may have replaced this one. Without such a socket, another client did.
    if (end.code === REPLACED && wasActive && this.#triedBeside && this.#isUnderWay()) return "resume";
    return nextStep(end.code, end.error?.action);
  }

  #isUnderWay(): boolean {
    return this.#preparing || this.#attempt !== undefined || this.#wait.isOn;
  }

  #retryAfter(step: Exclude<NextStep, "stop">): void {
    // A refused token is not the node's fault. For anything else, another node may do better.
    if (step !== "refresh") this.#urlIndex++;
    const delayMs = this.#retry.nextDelayMs(step);
    const { offlineRetryMs } = this.#options.timing;
    this.#schedule(this.#network.isDown ? Math.max(delayMs, offlineRetryMs) : delayMs, {
      mayHurry: step !== "backoff",
    });
  }

  #schedule(delayMs: number, { mayHurry }: { readonly mayHurry: boolean }): void {
    this.#wait.begin(delayMs, mayHurry);
    this.#tell(this.#active === undefined ? "waiting" : "online", delayMs);
  }

  #networkDown(): void {
    this.#events.onLeaving();
    // An open socket may survive: let its liveness check decide.
    const { isOn, mayHurry } = this.#wait;
    if (isOn) this.#schedule(this.#options.timing.offlineRetryMs, { mayHurry });
  }

  #networkUp(): void {
    this.#active?.probe(this.#options.timing.probeMs);
    if (!this.#wait.isOn) return;
    this.#retry.reset();
    this.#schedule(0, { mayHurry: true });
  }

  /** Somebody is looking at the page, so what it shows must be current. */
  #pageSeen(): void {
    this.#events.onSeen();
    this.#active?.probe(this.#options.timing.probeMs);
    if (this.#wait.isOn && this.#wait.mayHurry) this.#schedule(0, { mayHurry: true });
  }

  /** Nothing runs in the back/forward cache. If the user stayed online there, no push would reach them either. */
  #pageShelved(): void {
    const wasOnline = this.#active !== undefined;
    const reason = "the page is in the back/forward cache";
    this.#isShelved = true;
    void this.#letGo(CLIENT_LEAVES_SOCKET, reason)();
    // The browser does not cache a page that holds a lock or an open channel.
    this.#share.release();
    const run = this.#run;
    this.#lastEnd = { code: CLIENT_LEAVES_SOCKET, reason };
    this.#tell("waiting");
    if (wasOnline && run === this.#run) this.#events.onOffline({ code: CLIENT_LEAVES_SOCKET, reason });
  }

  #pageTakenOut(): void {
    if (!this.#isShelved) return;
    this.#isShelved = false;
    this.#retry.reset();
    void this.#open();
  }
}
