// hub -> here -> the push node: one real socket, and the tabs' sockets that it serves.
// Guarantees: each of them sees what a socket of its own would bring: a welcome, then everything after its position, in
// order and once. An ack is passed on when the policy says so, and never above what the socket has carried. A
// connection that is being left ends when no tab that answers is on it.
import { CLIENT_LEAVES_SOCKET, SERVICE_RESTART } from "../../connection/close-policy.js";
import type { SocketConstructor } from "../../connection/socket.js";
import type { Position } from "../../delivery/user-sequence.js";
import type { ServerFrame, WelcomeFrame } from "../../frames.js";
import { ackedBy, AckPasser, type SharedAck } from "./ack-policy.js";
import { CarriedFrames } from "./carried-frames.js";
import { misses, placeOf, type Started } from "./merge-positions.js";
import { SharedTopics } from "./shared-topics.js";
import { tabOf, type FromHub, type OpenSocket } from "./share-messages.js";
import { attachedOf, TabPolls, type Attached } from "./tab-polls.js";
import { ownerOnly, TokenTurns } from "./token-turns.js";
import { UpstreamSocket } from "./upstream-socket.js";

export interface UpstreamOptions {
  readonly WebSocket: SocketConstructor;
  readonly url: string;
  /** The tab's socket whose address and credential it uses. */
  readonly opener: OpenSocket;
  /** The position in the address. */
  readonly position: Position | undefined;
  readonly policy: SharedAck;
  readonly silentMs: number;
  readonly post: (message: FromHub) => void;
  /** Whether the lock is certainly still held. */
  readonly isHeld: () => boolean | Promise<boolean>;
  /** These cannot be served here: they miss messages that this connection has not asked for. */
  readonly onMissing: (upstream: Upstream, sockets: readonly OpenSocket[]) => void;
  /** It serves no new sockets: the server asks everybody to move, or the last tab has left. */
  readonly onLeaving: (upstream: Upstream) => void;
  readonly onEnd: (upstream: Upstream) => void;
}

export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #socket: UpstreamSocket;
  readonly #attached = new Map<string, Attached>();
  readonly #topics: SharedTopics;
  readonly #tokens: TokenTurns;
  readonly #acks: AckPasser;
  readonly #polls: TabPolls;
  #carried: CarriedFrames | undefined;
  /** Sockets that have asked for a pong since the last one, and when the first of them did. */
  readonly #pingers = new Set<string>();
  #ended = false;
  #closing: { readonly to: string } | undefined;

  /** @throws what the WebSocket constructor throws */
  constructor(options: UpstreamOptions) {
    this.#options = options;
    const { opener } = options;
    this.#topics = new SharedTopics({
      send: (frame) => this.#socket.send(JSON.stringify(frame)),
      say: (to, frame) => this.#say(to, JSON.stringify(frame)),
    });
    this.#tokens = new TokenTurns(tabOf(opener.socket), {
      say: (to, text) => this.#say([to], text),
      sockets: () => this.#welcomedOnes(),
    });
    this.#acks = new AckPasser({
      isHeld: options.isHeld,
      ackable: () => this.#ackable(),
      send: (seq) => this.#socket.send(JSON.stringify({ type: "ack", seq })),
    });
    this.#polls = new TabPolls({
      silentMs: options.silentMs,
      attached: () => [...this.#attached.values()],
      ask: (to) => options.post({ kind: "poll", to }),
      onSilent: (sockets) => this.#dropSilent(sockets),
      onPolled: () => this.#acks.pass(),
    });
    this.#socket = new UpstreamSocket(options, {
      onFrame: (frame, text) => this.#take(frame, text),
      onText: (text) => this.#say(this.#welcomedOnes(), text),
      onClosed: (code, reason) => this.#end(code, reason),
    });
  }

  get isEmpty(): boolean {
    return this.#attached.size === 0;
  }

  /** The token expires, and this tab opens a second socket beside its first: its ticket is for another connection. */
  mustChangeFor(socket: string): boolean {
    const tab = tabOf(socket);
    return this.#tokens.isAsking && [...this.#attached.values()].some((one) => one.tab === tab);
  }

  /** Serves this socket from now on; calls `onMissing` if it can't. */
  attach(open: OpenSocket): void {
    const attached = attachedOf(open);
    this.#attached.set(open.socket, attached);
    if (this.#carried !== undefined) this.#welcomeAll(this.#carried, [attached]);
  }

  /** A frame of a tab's socket. */
  send(socket: string, text: string): void {
    const attached = this.#attached.get(socket);
    if (attached?.isWelcomed !== true) return;
    this.#polls.heard(attached);
    const frame = JSON.parse(text) as Readonly<Record<string, unknown>>;
    switch (frame["type"]) {
      case "ack":
        this.#tabAcked(attached, Number(frame["seq"]));
        return;
      case "ping":
        if (this.#pingers.size === 0) this.#socket.send(text);
        this.#pingers.add(socket);
        return;
      case "token":
        this.#tokens.given(socket, attached.tab);
        this.#socket.send(text);
        return;
      default:
        this.#topics.receive(socket, frame);
    }
  }

  here(socket: string, wants: boolean): void {
    const attached = this.#attached.get(socket);
    if (attached === undefined) return;
    this.#polls.heard(attached);
    attached.wants = wants;
    this.#acks.pass();
  }

  /**
   * A tab closes its socket. The last one takes the connection with it.
   * @returns whether this was one of its sockets
   */
  detach(socket: string, code: number, reason: string): boolean {
    if (!this.#remove(socket)) return false;
    if (!this.isEmpty || this.#ended) {
      this.#options.post({ kind: "closed", to: [socket], code, reason });
      return true;
    }
    // Told when it is closed, because an application waits for that.
    this.#closing = { to: socket };
    // New sockets get another one.
    this.#options.onLeaving(this);
    this.#socket.close(code, reason);
    return true;
  }

  /**
   * A tab has given up waiting.
   * @returns whether the connection is at fault: it left a ping of that tab unanswered
   */
  abandon(socket: string): boolean {
    const isSilent = this.#pingers.has(socket);
    if (!this.#remove(socket)) return false;
    if (this.isEmpty) this.close(CLIENT_LEAVES_SOCKET, "nobody waits any more");
    return isSilent;
  }

  /** All sockets here move to another connection, each in its own time. */
  moveAll(reason: string): void {
    this.#polls.leave();
    this.#say(this.#welcomedOnes(), JSON.stringify({ type: "reconnect", afterMs: 0, reason, local: true }));
  }

  /** The sockets are not told: they know, or learn it from the next leader. */
  close(code: number, reason: string): void {
    this.#release();
    this.#socket.close(code, reason);
    this.#options.onEnd(this);
  }

  #remove(socket: string): boolean {
    if (!this.#attached.delete(socket)) return false;
    this.#pingers.delete(socket);
    this.#topics.leave(socket);
    this.#acks.pass();
    return true;
  }

  #take(frame: ServerFrame, text: string): void {
    if (this.#ended) return;
    switch (frame.type) {
      case "welcome":
        if (this.#carried === undefined) this.#adopt(frame, text);
        return;
      case "message":
        if (this.#carried?.add(frame, text) === false) this.#acks.repeat(frame.seq);
        else this.#carry(frame.seq, text);
        return;
      case "recalled":
        this.#carried?.recall(frame, text);
        this.#say(this.#welcomedOnes(), text);
        return;
      case "reconnect":
        this.#options.onLeaving(this);
        this.#polls.leave();
        this.#say(this.#welcomedOnes(), text);
        return;
      case "token_expiring":
        this.#tokens.ask(frame.inSeconds);
        return;
      case "token_accepted":
        this.#tokens.accepted();
        this.#topics.take(frame, text);
        this.#say(this.#welcomedOnes(), text);
        return;
      case "error":
        if ((frame.on ?? frame.ref) === "token") this.#tokens.refused(text);
        else if (!this.#topics.refused(frame)) this.#say(this.#welcomedOnes(), text);
        return;
      case "other":
        if (this.#pingers.size > 0) this.#say([...this.#pingers], text);
        this.#pingers.clear();
        return;
      default:
        this.#topics.take(frame, text);
    }
  }

  /** A new message, for all who need it. */
  #carry(seq: number, text: string): void {
    const to = [...this.#attached.values()].filter((one) => one.isWelcomed && one.sent < seq);
    for (const one of to) {
      // It begins to owe an ack now; earlier silence does not count.
      if (one.acked >= one.sent) one.heardAtMs = performance.now();
      one.sent = seq;
    }
    this.#say(
      to.map(({ open }) => open.socket),
      text,
    );
    // A tab may have handled it before this connection carried it.
    this.#acks.pass();
  }

  #adopt(welcome: WelcomeFrame, text: string): void {
    this.#carried = new CarriedFrames(welcome, text);
    this.#acks.start(welcome.after);
    const { opener } = this.#options;
    this.#topics.adopt(welcome, new URL(this.#options.url).searchParams.get("all") ?? undefined);
    if (this.#options.policy === "all") this.#polls.start();
    const all = [...this.#attached.values()];
    // The opener comes first, because the credential is its own.
    all.sort((one, other) => Number(other.open === opener) - Number(one.open === opener));
    this.#welcomeAll(this.#carried, all);
  }

  #welcomeAll(carried: CarriedFrames, all: readonly Attached[]): void {
    const started = carried.started(this.#options.position);
    const missing = all.filter(({ open }) => misses(open.position, started));
    for (const one of all) if (!missing.includes(one)) this.#welcomeOne(carried, one, started);
    if (missing.length === 0) return;
    for (const { open } of missing) this.#remove(open.socket);
    this.#options.onMissing(
      this,
      missing.map(({ open }) => open),
    );
  }

  #welcomeOne(carried: CarriedFrames, attached: Attached, started: Started): void {
    const { position, broadcast, socket } = attached.open;
    const { after, resumed } = placeOf(position, started, Math.min(this.#acks.acked, carried.received));
    attached.isWelcomed = true;
    attached.sent = after;
    // As at a push node: everything up to the resumed position counts as acknowledged.
    attached.acked = resumed ? after : 0;
    this.#say([socket], carried.welcomeAt(after, resumed));
    for (const text of carried.recallsAfter(after)) this.#say([socket], text);
    for (const message of carried.messagesAfter(after)) {
      attached.sent = message.seq;
      this.#say([socket], message.text);
    }
    this.#topics.join(socket, broadcast);
    this.#acks.pass();
  }

  #tabAcked(attached: Attached, seq: number): void {
    const isRepeated = seq === attached.acked;
    if (!Number.isSafeInteger(seq) || seq > attached.sent) return;
    attached.acked = Math.max(attached.acked, seq);
    if (isRepeated) this.#acks.repeat(seq);
    this.#acks.pass();
  }

  #ackable(): number {
    const { policy, silentMs } = this.#options;
    const tabs = [...this.#attached.values()].filter(({ isWelcomed }) => isWelcomed);
    return Math.min(
      this.#carried?.received ?? 0,
      ackedBy(policy, tabs, { nowMs: performance.now(), silentMs }),
    );
  }

  #dropSilent(to: readonly string[]): void {
    for (const socket of to) this.#remove(socket);
    // A tab that is only suspended reads this when it continues, and connects anew from its position.
    const reason = "the connection changes";
    this.#options.post({ kind: "closed", to, code: SERVICE_RESTART, reason });
    if (this.isEmpty) this.close(CLIENT_LEAVES_SOCKET, reason);
  }

  #end(code: number, reason: string): void {
    const closing = this.#closing;
    if (closing !== undefined) {
      this.#closing = undefined;
      this.#options.post({ kind: "closed", to: [closing.to], code, reason });
    }
    if (this.#ended) return;
    const { verdict } = this.#socket;
    const all = [...this.#attached.values()];
    this.#release();
    const isForOwner = ownerOnly(code, verdict?.frame.code);
    const concerned = all.filter(({ tab }) => !isForOwner || tab === this.#tokens.liable);
    const others = all.filter((one) => !concerned.includes(one)).map(({ open }) => open.socket);
    const to = concerned.map(({ open }) => open.socket);
    if (verdict !== undefined) this.#say(to, verdict.text);
    if (to.length > 0) this.#options.post({ kind: "closed", to, code, reason });
    // These have credentials of their own.
    if (others.length > 0) {
      const why = "another tab's sign-in has ended";
      this.#options.post({ kind: "closed", to: others, code: SERVICE_RESTART, reason: why });
    }
    this.#options.onEnd(this);
  }

  #release(): void {
    this.#ended = true;
    this.#polls.stop();
    this.#acks.end();
    this.#tokens.stop();
    this.#topics.stop();
    this.#attached.clear();
  }

  #welcomedOnes(): string[] {
    return [...this.#attached.values()].filter(({ isWelcomed }) => isWelcomed).map(({ open }) => open.socket);
  }

  #say(to: readonly string[], text: string): void {
    if (to.length > 0) this.#options.post({ kind: "frame", to, text });
  }
}
