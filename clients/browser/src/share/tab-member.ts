// share-sockets -> here -> {leadership, hub}: one tab among those that share a connection.
// Guarantees: its sockets are served by the leader, and move to the next one without the application noticing. A tab
// that was deposed while suspended passes on no ack.
import { CLIENT_LEAVES_SOCKET } from "../connection/close-policy.js";
import type { Socket, SocketConstructor } from "../connection/socket.js";
import type { SharedAck } from "./hub/ack-policy.js";
import { Hub, type Place } from "./hub/hub.js";
import { Leadership } from "./leadership.js";
import { OverheardPlaces } from "./overheard-places.js";
import type { Channel, ShareEnvironment } from "./share-environment.js";
import type { FromHub, ShareMessage, ToHub } from "./hub/share-messages.js";
import { SharedSocket, type SocketPlace } from "./shared-socket.js";
import { TabLock } from "./tab-lock.js";

export interface TabMemberOptions {
  readonly name: string;
  readonly environment: ShareEnvironment;
  readonly WebSocket: SocketConstructor;
  readonly policy: SharedAck;
  /** How often a visible tab checks whether the leader is still there. */
  readonly checkMs: number;
  /** With `all`: a tab that is silent for this long is not waited for. */
  readonly silentMs: number;
  /** Whether the application listens for messages. */
  readonly wants: () => boolean;
  /** Its last socket has closed. */
  readonly onEmpty: () => void;
}

/** A tab that did nothing for this long may have been deposed meanwhile. */
const SUSPECT_MS = 400;
const TAKEN_OVER = "another tab holds the connection now";

export class TabMember {
  readonly #options: TabMemberOptions;
  readonly #id = newId();
  readonly #channel: Channel;
  readonly #broadcast: (message: ShareMessage) => void;
  readonly #lock: TabLock;
  readonly #leadership: Leadership;
  readonly #sockets = new Map<string, SharedSocket>();
  readonly #places = new OverheardPlaces();
  readonly #pageListeners: readonly (readonly [string, () => void])[];
  #hub: Hub | undefined;
  #socketNumber = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #checkedAtMs = 0;
  #aliveAtMs = performance.now();
  #suspicion: Promise<void> | undefined;
  #isReleased = false;
  #thawTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: TabMemberOptions) {
    this.#options = options;
    const { environment, name } = options;
    this.#channel = new environment.Channel(name);
    this.#broadcast = this.#channel.postMessage.bind(this.#channel);
    this.#channel.addEventListener("message", ({ data }) => this.#receive(data as ShareMessage));
    this.#lock = new TabLock(environment.locks, name, {
      onGranted: () => this.#leadership.granted(),
      onLost: () => this.#leadership.lost(),
    });
    this.#leadership = new Leadership(
      this.#id,
      {
        requestLock: (steal) => this.#lock.request(steal),
        dropLock: () => this.#lock.drop(),
        say: (kind, term) => this.#post({ kind, from: this.#id, term }),
        lead: () => this.#lead(),
        stepDown: () => this.#stepDown(),
        follow: () => this.#turnToLeader(),
      },
      () => Date.now(),
    );
    this.#pageListeners = [
      ["visibilitychange", () => this.#watchLeader()],
      ["freeze", () => this.#freeze()],
      ["resume", () => this.#thaw()],
    ];
    for (const [type, listener] of this.#pageListeners) environment.page.addEventListener(type, listener);
    this.#leadership.start();
    this.#watchLeader();
  }

  get isEmpty(): boolean {
    return this.#sockets.size === 0;
  }

  /** For the client: a place on the connection. */
  open(place: SocketPlace): Socket {
    const socket = new SharedSocket({
      ...place,
      name: `${this.#id}.${++this.#socketNumber}`,
      wants: this.#options.wants,
      post: (message) => this.#toHub(message),
      onReady: (ready) => this.#ask(ready),
      onClosed: (closed) => this.#closed(closed),
      onUnserved: () => {
        if (!this.#isHidden()) this.#leadership.usurp();
      },
    });
    this.#sockets.set(socket.name, socket);
    return socket;
  }

  /** The client has closed, or the page goes into the back/forward cache. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    clearInterval(this.#timer);
    clearTimeout(this.#thawTimer);
    for (const [type, listener] of this.#pageListeners) {
      this.#options.environment.page.removeEventListener(type, listener);
    }
    this.#leadership.stop();
    this.#channel.close();
    this.#sockets.clear();
  }

  #receive(message: ShareMessage): void {
    if (this.#isReleased) return;
    this.#isAlive();
    const { leader } = this.#leadership;
    switch (message.kind) {
      case "who":
      case "leads":
      case "left":
        this.#leadership.heard(message.kind, message.from, message.term);
        return;
      case "frame":
      case "closed":
      case "poll":
        this.#places.answered(message);
        if (message.from === leader?.id) this.#fromHub(message, message.term);
        return;
      default:
        this.#places.heard(message);
        // What was sent to another leader is sent again to this one.
        if (message.term === leader?.term) this.#hub?.receive(message);
    }
  }

  /** From a socket of this tab. */
  #toHub(message: ToHub): void {
    this.#isAlive();
    const { isLeading } = this.#leadership;
    const socket = this.#sockets.get(message.socket);
    if (socket === undefined || !this.#isServed(socket)) {
      // There is nobody to answer.
      if (message.kind === "close") queueMicrotask(() => socket?.closed(message.code, message.reason));
      return;
    }
    const { term } = socket;
    if (!isLeading) this.#post({ ...message, from: this.#id, term });
    else
      queueMicrotask(() => {
        if (this.#leadership.leader?.term === term) this.#hub?.receive(message);
      });
  }

  #isServed(socket: SharedSocket): boolean {
    return socket.term === this.#leadership.leader?.term;
  }

  #fromHub(message: FromHub, term: number): void {
    for (const name of message.to) {
      const socket = this.#sockets.get(name);
      // It may have turned to another leader meanwhile.
      if (socket?.term !== term) continue;
      if (message.kind === "frame") socket.receive(message.text);
      else if (message.kind === "closed") socket.closed(message.code, message.reason);
      else this.#toHub({ kind: "here", socket: name, wants: this.#options.wants() });
    }
  }

  #post(message: ShareMessage): void {
    if (!this.#isReleased || message.kind === "left") this.#broadcast(message);
  }

  #knownPlaces(): Place[] {
    return [...this.#places.ofOthers(), ...[...this.#sockets.values()].map(({ place }) => place)];
  }

  #lead(): void {
    const { WebSocket, policy, silentMs } = this.#options;
    const { term } = this.#leadership.leader ?? { term: 0 };
    this.#hub = new Hub({
      WebSocket,
      policy,
      silentMs,
      positions: () => this.#knownPlaces(),
      isHeld: () => this.#isHeld(term),
      post: (message) => {
        this.#isAlive();
        this.#places.answered(message);
        if (message.to.some((name) => !this.#sockets.has(name))) {
          this.#post({ ...message, from: this.#id, term });
        }
        if (message.to.some((name) => this.#sockets.has(name))) {
          queueMicrotask(() => this.#fromHub(message, term));
        }
      },
    });
    this.#turnToLeader();
  }

  #stepDown(): void {
    const hub = this.#hub;
    this.#hub = undefined;
    hub?.stop("another tab leads");
  }

  /** Somebody else leads now, or this tab does. */
  #turnToLeader(): void {
    const { leader } = this.#leadership;
    for (const socket of this.#sockets.values()) {
      if (socket.term === leader?.term) continue;
      if (!socket.isWelcomed) this.#ask(socket);
      else socket.move(TAKEN_OVER);
    }
  }

  #ask(socket: SharedSocket): void {
    const { leader } = this.#leadership;
    const { opening } = socket;
    if (leader === undefined || opening === undefined) return;
    socket.term = leader.term;
    this.#toHub(opening);
  }

  #closed(socket: SharedSocket): void {
    this.#sockets.delete(socket.name);
    if (this.isEmpty) this.#options.onEmpty();
    if (socket.isWelcomed) return;
    // The attempt that was to replace these has failed.
    for (const other of this.#sockets.values()) {
      if (other.isWelcomed && !this.#isServed(other)) queueMicrotask(() => other.closed(1006, TAKEN_OVER));
    }
  }

  /** While somebody looks at this tab, the leader has to answer. */
  #watchLeader(): void {
    clearInterval(this.#timer);
    if (this.#isHidden()) return;
    const { checkMs } = this.#options;
    const check = (): void => {
      this.#isAlive();
      const nowMs = performance.now();
      // This tab itself was suspended: the answer may be waiting unread.
      if (nowMs - this.#checkedAtMs > 1.5 * checkMs) this.#leadership.forgive();
      this.#checkedAtMs = nowMs;
      this.#leadership.challenge();
    };
    // A request from just before may still be on its way.
    this.#leadership.forgive();
    check();
    this.#timer = setInterval(check, checkMs);
  }

  #isHidden(): boolean {
    return this.#options.environment.page.visibilityState === "hidden";
  }

  /** Nothing runs here until `resume`, so the others take over. */
  #freeze(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#thawTimer);
    const code = CLIENT_LEAVES_SOCKET;
    for (const socket of this.#sockets.values()) {
      // If nobody serves it, nobody has to know. For the client it has not ended, so it continues at once after
      // `resume`.
      if (this.#isServed(socket)) {
        this.#toHub({ kind: "close", socket: socket.name, code, reason: "the tab is frozen" });
      }
      // Answers are no longer for this tab.
      socket.term = -1;
    }
    this.#leadership.stop();
  }

  #thaw(): void {
    this.#leadership.start();
    this.#watchLeader();
    // A leader that hangs does not answer, and while this tab is hidden it replaces nobody: then it has no connection.
    this.#thawTimer = setTimeout(() => {
      if (this.#leadership.leader !== undefined) return;
      for (const socket of this.#sockets.values()) {
        if (socket.isWelcomed) queueMicrotask(() => socket.closed(1006, ""));
      }
    }, this.#options.silentMs);
  }

  /** Call it whenever something happens: a tab in which nothing happened for long may have been suspended. */
  #isAlive(): void {
    const nowMs = performance.now();
    if (nowMs - this.#aliveAtMs > SUSPECT_MS && this.#suspicion === undefined) {
      this.#suspicion = this.#lock.settled().then(() => {
        this.#suspicion = undefined;
      });
    }
    this.#aliveAtMs = nowMs;
  }

  #isHeld(term: number): boolean | Promise<boolean> {
    const isHeld = (): boolean =>
      this.#leadership.isLeading && this.#leadership.leader?.term === term && !this.#isReleased;
    return this.#suspicion === undefined ? isHeld() : this.#suspicion.then(isHeld);
  }
}

/** `randomUUID` is missing on pages without TLS; so are locks. */
function newId(): string {
  return crypto.randomUUID();
}
