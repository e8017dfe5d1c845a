// hub -> here -> the push node: one real socket, and the tabs' sockets that it serves.
// Guarantees: each of them sees what a socket of its own would bring: a welcome, then everything after its position, in
// order and once. An ack is passed on when the policy says so, and never above what the socket has carried. A
// connection that is being left ends when no tab that answers is on it.
import { CLIENT_LEAVES_SOCKET, SERVICE_RESTART } from "../connection/close-policy.js";
import { SOCKET_CLOSED, SOCKET_OPEN, type Socket, type SocketConstructor } from "../connection/socket.js";
import type { Position } from "../delivery/user-sequence.js";
import { parseServerFrame, type ErrorFrame, type ServerFrame, type WelcomeFrame } from "../frames.js";
import { ackedBy, AckPasser, type SharedAck } from "./ack-policy.js";
import { misses, placeOf, type Started } from "./merge-positions.js";
import { RecentMessages } from "./recent-messages.js";
import { SharedTopics } from "./shared-topics.js";
import { tabOf, type FromHub, type OpenSocket } from "./share-messages.js";
import { attachedOf, TabPolls, type Attached } from "./tab-polls.js";
import { ownerOnly, TokenTurns } from "./token-turns.js";

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

/** The limit for messages that a later tab may still need. */
const MAX_CHARACTERS = 4 * 1024 * 1024;
const REMEMBERED_RECALLS = 100;

export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #socket: Socket;
  readonly #attached = new Map<string, Attached>();
  readonly #topics: SharedTopics;
  readonly #tokens: TokenTurns;
  readonly #acks: AckPasser;
  readonly #polls: TabPolls;
  #recent = new RecentMessages(0, MAX_CHARACTERS);
  #recalls: { readonly seq: number; readonly text: string }[] = [];
  #welcome: WelcomeFrame | undefined;
  #welcomeFields: Readonly<Record<string, unknown>> = {};
  #received = 0;
  /** Sockets that have asked for a pong since the last one, and when the first of them did. */
  readonly #pingers = new Set<string>();
  #lastError: { readonly frame: ErrorFrame; readonly text: string } | undefined;
  #ended = false;
  #closing: { readonly to: string } | undefined;

  /** @throws what the WebSocket constructor throws */
  constructor(options: UpstreamOptions) {
    this.#options = options;
    const { opener } = options;
    this.#topics = new SharedTopics({
      send: (frame) => this.#send(JSON.stringify(frame)),
      say: (to, frame) => this.#say(to, JSON.stringify(frame)),
    });
    this.#tokens = new TokenTurns(tabOf(opener.socket), {
      say: (to, text) => this.#say([to], text),
      sockets: () => this.#welcomedOnes(),
    });
    this.#acks = new AckPasser({
      isHeld: options.isHeld,
      ackable: () => this.#ackable(),
      send: (seq) => this.#send(JSON.stringify({ type: "ack", seq })),
    });
    this.#polls = new TabPolls({
      silentMs: options.silentMs,
      attached: () => [...this.#attached.values()],
      ask: (to) => options.post({ kind: "poll", to }),
      onSilent: (sockets) => this.#dropSilent(sockets),
      onPolled: () => this.#acks.pass(),
    });
    this.#socket = new options.WebSocket(options.url, [...opener.protocols]);
    this.#socket.addEventListener("open", () => {
      if (opener.firstFrame !== undefined) this.#send(opener.firstFrame);
    });
    this.#socket.addEventListener("message", ({ data }) => this.#receive(data));
    this.#socket.addEventListener("error", () => undefined);
    this.#socket.addEventListener("close", ({ code = 1006, reason = "" }) => this.#end(code, reason));
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
    if (this.#welcome !== undefined) this.#welcomeAll([attached]);
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
        if (this.#pingers.size === 0) this.#send(text);
        this.#pingers.add(socket);
        return;
      case "token":
        this.#tokens.given(socket, attached.tab);
        this.#send(text);
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
    this.#closeSocket(code, reason);
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
    this.#closeSocket(code, reason);
    this.#options.onEnd(this);
  }

  #remove(socket: string): boolean {
    if (!this.#attached.delete(socket)) return false;
    this.#pingers.delete(socket);
    this.#topics.leave(socket);
    this.#acks.pass();
    return true;
  }

  #receive(data: unknown): void {
    if (this.#ended || typeof data !== "string") return;
    let frame: ServerFrame;
    try {
      frame = parseServerFrame(data);
    } catch {
      // Each tab judges it by itself.
      this.#say(this.#welcomedOnes(), data);
      return;
    }
    const isVerdict = frame.type === "error" && frame.ref === undefined && frame.on === undefined;
    if (this.#lastError !== undefined) this.#say(this.#welcomedOnes(), this.#lastError.text);
    this.#lastError = isVerdict ? { frame: frame as ErrorFrame, text: data } : undefined;
    if (!isVerdict) this.#take(frame, data);
  }

  #take(frame: ServerFrame, text: string): void {
    switch (frame.type) {
      case "welcome":
        if (this.#welcome === undefined) this.#adopt(frame, text);
        return;
      case "message": {
        if (frame.seq <= this.#received) {
          this.#acks.repeat(frame.seq);
          return;
        }
        this.#received = frame.seq;
        this.#recent.add({ seq: frame.seq, id: frame.id, text });
        const to = [...this.#attached.values()].filter((one) => one.isWelcomed && one.sent < frame.seq);
        for (const one of to) {
          // It begins to owe an ack now; earlier silence does not count.
          if (one.acked >= one.sent) one.heardAtMs = performance.now();
          one.sent = frame.seq;
        }
        this.#say(
          to.map(({ open }) => open.socket),
          text,
        );
        // A tab may have handled it before this connection carried it.
        this.#acks.pass();
        return;
      }
      case "recalled":
        this.#recent.remove(frame.id);
        this.#recalls = [...this.#recalls.slice(1 - REMEMBERED_RECALLS), { seq: frame.seq, text }];
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

  #adopt(welcome: WelcomeFrame, text: string): void {
    this.#welcome = welcome;
    this.#welcomeFields = JSON.parse(text) as Record<string, unknown>;
    this.#received = welcome.after;
    this.#acks.start(welcome.after);
    this.#recent = new RecentMessages(welcome.after, MAX_CHARACTERS);
    const { opener } = this.#options;
    this.#topics.adopt(welcome, new URL(this.#options.url).searchParams.get("all") ?? undefined);
    if (this.#options.policy === "all") this.#polls.start();
    const all = [...this.#attached.values()];
    // The opener comes first, because the credential is its own.
    all.sort((one, other) => Number(other.open === opener) - Number(one.open === opener));
    this.#welcomeAll(all);
  }

  #welcomeAll(all: readonly Attached[]): void {
    const started = this.#started();
    const missing = all.filter(({ open }) => misses(open.position, started));
    for (const one of all) if (!missing.includes(one)) this.#welcomeOne(one, started);
    if (missing.length === 0) return;
    for (const { open } of missing) this.#remove(open.socket);
    this.#options.onMissing(
      this,
      missing.map(({ open }) => open),
    );
  }

  #started(): Started {
    const { epoch, resumed } = this.#welcome ?? { epoch: "", resumed: false };
    return { epoch, resumed, start: this.#recent.start, asked: this.#options.position };
  }

  #welcomeOne(attached: Attached, started: Started): void {
    const { position, broadcast, socket } = attached.open;
    const { after, resumed } = placeOf(position, started, Math.min(this.#acks.acked, this.#received));
    attached.isWelcomed = true;
    attached.sent = after;
    // As at a push node: everything up to the resumed position counts as acknowledged.
    attached.acked = resumed ? after : 0;
    const seq = Math.max(this.#received, Number(this.#welcomeFields["seq"] ?? 0));
    this.#say([socket], JSON.stringify({ ...this.#welcomeFields, seq, after, resumed }));
    for (const { seq: at, text } of this.#recalls) if (at > after) this.#say([socket], text);
    for (const message of this.#recent.after(after)) {
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
    return Math.min(this.#received, ackedBy(policy, tabs, { nowMs: performance.now(), silentMs }));
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
    const error = this.#lastError;
    const all = [...this.#attached.values()];
    this.#release();
    const isForOwner = ownerOnly(code, error?.frame.code);
    const concerned = all.filter(({ tab }) => !isForOwner || tab === this.#tokens.liable);
    const others = all.filter((one) => !concerned.includes(one)).map(({ open }) => open.socket);
    const to = concerned.map(({ open }) => open.socket);
    if (error !== undefined) this.#say(to, error.text);
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

  #send(text: string): boolean {
    if (this.#socket.readyState !== SOCKET_OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  #closeSocket(code: number, reason: string): void {
    if (this.#socket.readyState === SOCKET_CLOSED) {
      this.#end(code, reason);
      return;
    }
    try {
      this.#socket.close(code, reason);
    } catch {
      this.#socket.close();
    }
  }
}
