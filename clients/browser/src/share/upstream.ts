// hub -> here -> the push node: one real socket, and the tabs' sockets that it serves.
// Guarantees: each of them sees what a socket of its own would bring: a welcome, then everything after its position, in
// order and once; an ack is passed on when the policy says so, and never above what the socket has carried; a connection
// that is left ends when nobody who answers is on it.
import { CLIENT_LEAVES_SOCKET, SERVICE_RESTART } from "../connection/close-policy.js";
import { SOCKET_CLOSED, SOCKET_OPEN, type Socket, type SocketConstructor } from "../connection/socket.js";
import type { Position } from "../delivery/user-sequence.js";
import { parseServerFrame, type ErrorFrame, type ServerFrame, type WelcomeFrame } from "../frames.js";
import { ackedBy, type SharedAck } from "./ack-policy.js";
import { RecentMessages } from "./recent-messages.js";
import { SharedTopics } from "./shared-topics.js";
import { ownerOnly } from "./share-verdict.js";
import type { FromHub, OpenSocket } from "./share-messages.js";
import { TokenTurns } from "./token-turns.js";

export interface UpstreamOptions {
  readonly WebSocket: SocketConstructor;
  readonly url: string;
  /** The tab's socket whose address and credential it uses. */
  readonly opener: OpenSocket;
  /** What the address asks for. */
  readonly position: Position | undefined;
  readonly policy: SharedAck;
  readonly silentMs: number;
  readonly post: (message: FromHub) => void;
  /** Whether the lock is still held, surely. */
  readonly isHeld: () => boolean | Promise<boolean>;
  /** These cannot be served from here: they miss what it has not asked for. */
  readonly onMissing: (upstream: Upstream, sockets: readonly OpenSocket[]) => void;
  /** It serves nobody new: the server asks everybody to move, or the last tab has left. */
  readonly onLeaving: (upstream: Upstream) => void;
  readonly onEnd: (upstream: Upstream) => void;
}

interface Attached {
  readonly open: OpenSocket;
  /** The tab: what comes before the socket's number. */
  readonly tab: string;
  isWelcomed: boolean;
  wants: boolean;
  acked: number;
  sent: number;
  /** When it last said anything, or began to owe an ack. */
  heardAtMs: number;
  /** Polls since it last said anything. */
  unanswered: number;
}

/** Of the messages that a later tab may still need. */
const MAX_CHARACTERS = 4 * 1024 * 1024;
const REMEMBERED_RECALLS = 100;
const POLL_MS = 1_000;

export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #socket: Socket;
  readonly #attached = new Map<string, Attached>();
  readonly #topics: SharedTopics;
  readonly #tokens: TokenTurns;
  #recent = new RecentMessages(0, MAX_CHARACTERS);
  #recalls: { readonly seq: number; readonly text: string }[] = [];
  #welcome: WelcomeFrame | undefined;
  #welcomeFields: Readonly<Record<string, unknown>> = {};
  #received = 0;
  #acked = 0;
  /** An ack that waits for the lock to be confirmed. */
  #isConfirming = false;
  /** Who asked for a pong since the last one, and when the first of them did. */
  readonly #pingers = new Set<string>();
  #lastError: { readonly frame: ErrorFrame; readonly text: string } | undefined;
  #pollTimer: ReturnType<typeof setInterval> | undefined;
  /** The others are moving to another connection, or have. */
  #isLeft = false;
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

  /** The token ends, and this tab opens a second socket beside its first: its ticket is for another connection. */
  mustChangeFor(socket: string): boolean {
    const tab = tabOf(socket);
    return this.#tokens.isAsking && [...this.#attached.values()].some((one) => one.tab === tab);
  }

  /** Serves this one from now on; `onMissing` says so where it can't. */
  attach(open: OpenSocket): void {
    const nowMs = performance.now();
    const { socket, wants } = open;
    const attached: Attached = {
      open,
      tab: tabOf(socket),
      isWelcomed: false,
      wants,
      acked: 0,
      sent: 0,
      heardAtMs: nowMs,
      unanswered: 0,
    };
    this.#attached.set(socket, attached);
    if (this.#welcome !== undefined) this.#welcomeAll([attached]);
  }

  /** A frame of a tab's socket. */
  send(socket: string, text: string): void {
    const attached = this.#attached.get(socket);
    if (attached?.isWelcomed !== true) return;
    attached.heardAtMs = performance.now();
    attached.unanswered = 0;
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
    attached.heardAtMs = performance.now();
    attached.unanswered = 0;
    attached.wants = wants;
    this.#passAck();
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
    // Told when it is closed: an application waits for that.
    this.#closing = { to: socket };
    // Who comes now gets another one.
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

  /** All who are here move to another connection, each in its own time. */
  moveAll(reason: string): void {
    this.#leave();
    this.#say(this.#welcomedOnes(), JSON.stringify({ type: "reconnect", afterMs: 0, reason, local: true }));
  }

  /** Nobody is told: they know, or learn it from the next leader. */
  close(code: number, reason: string): void {
    this.#release();
    this.#closeSocket(code, reason);
    this.#options.onEnd(this);
  }

  #remove(socket: string): boolean {
    if (!this.#attached.delete(socket)) return false;
    this.#pingers.delete(socket);
    this.#topics.leave(socket);
    this.#passAck();
    return true;
  }

  #receive(data: unknown): void {
    if (this.#ended || typeof data !== "string") return;
    let frame: ServerFrame;
    try {
      frame = parseServerFrame(data);
    } catch {
      // Each tab says what it thinks of it.
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
          // Sent again: the ack may have got lost.
          if (frame.seq <= this.#acked) this.#send(JSON.stringify({ type: "ack", seq: this.#acked }));
          return;
        }
        this.#received = frame.seq;
        this.#recent.add({ seq: frame.seq, id: frame.id, text });
        const to = [...this.#attached.values()].filter((one) => one.isWelcomed && one.sent < frame.seq);
        for (const one of to) {
          // From now on it owes something; what it said before does not matter.
          if (one.acked >= one.sent) one.heardAtMs = performance.now();
          one.sent = frame.seq;
        }
        this.#say(
          to.map(({ open }) => open.socket),
          text,
        );
        // A tab may have handled it before this connection carried it.
        this.#passAck();
        return;
      }
      case "recalled":
        this.#recent.remove(frame.id);
        this.#recalls = [...this.#recalls.slice(1 - REMEMBERED_RECALLS), { seq: frame.seq, text }];
        this.#say(this.#welcomedOnes(), text);
        return;
      case "reconnect":
        this.#options.onLeaving(this);
        this.#leave();
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
    this.#acked = welcome.after;
    this.#recent = new RecentMessages(welcome.after, MAX_CHARACTERS);
    const { opener } = this.#options;
    this.#topics.adopt(welcome, new URL(this.#options.url).searchParams.get("all") ?? undefined);
    if (this.#options.policy === "all") this.#startPolling();
    const all = [...this.#attached.values()];
    // Whose credential it is comes first.
    all.sort((one, other) => Number(other.open === opener) - Number(one.open === opener));
    this.#welcomeAll(all);
  }

  #welcomeAll(all: readonly Attached[]): void {
    const missing = all.filter(({ open }) => this.#misses(open.position));
    for (const one of all) if (!missing.includes(one)) this.#welcomeOne(one);
    if (missing.length === 0) return;
    for (const { open } of missing) this.#remove(open.socket);
    this.#options.onMissing(
      this,
      missing.map(({ open }) => open),
    );
  }

  /** Whether it needs what came before this connection's start, and nobody asked the server for that. */
  #misses(position: Position | undefined): boolean {
    if (position?.epoch !== this.#welcome?.epoch || position === undefined) return false;
    if (position.since >= this.#recent.start) return false;
    const asked = this.#options.position;
    // The server was asked for it, and does not have it any more.
    const isGone = asked?.epoch === position.epoch && position.since <= asked.since;
    return !(isGone && this.#welcome?.resumed !== true);
  }

  #welcomeOne(attached: Attached): void {
    const { position, broadcast, socket } = attached.open;
    const { epoch } = this.#welcome ?? { epoch: "" };
    const isKnown = position?.epoch === epoch;
    const resumed = isKnown && position.since >= this.#recent.start;
    const after = resumed
      ? position.since
      : position === undefined
        ? // What another tab has acknowledged is not shown again.
          Math.max(this.#recent.start, Math.min(this.#acked, this.#received))
        : this.#recent.start;
    attached.isWelcomed = true;
    attached.sent = after;
    // As at a push node: what it resumes after is acknowledged.
    attached.acked = resumed ? after : 0;
    const seq = Math.max(this.#received, Number(this.#welcomeFields["seq"] ?? 0));
    this.#say([socket], JSON.stringify({ ...this.#welcomeFields, seq, after, resumed }));
    for (const { seq: at, text } of this.#recalls) if (at > after) this.#say([socket], text);
    for (const message of this.#recent.after(after)) {
      attached.sent = message.seq;
      this.#say([socket], message.text);
    }
    this.#topics.join(socket, broadcast);
    this.#passAck();
  }

  #tabAcked(attached: Attached, seq: number): void {
    const isRepeated = seq === attached.acked;
    if (!Number.isSafeInteger(seq) || seq > attached.sent) return;
    attached.acked = Math.max(attached.acked, seq);
    if (isRepeated && seq <= this.#acked) this.#send(JSON.stringify({ type: "ack", seq: this.#acked }));
    this.#passAck();
  }

  #passAck(): void {
    const seq = this.#ackable();
    if (seq <= this.#acked || this.#isConfirming || this.#ended) return;
    const isHeld = this.#options.isHeld();
    if (typeof isHeld === "boolean") {
      if (isHeld) this.#sendAck(seq);
      return;
    }
    this.#isConfirming = true;
    void isHeld.then((held) => {
      this.#isConfirming = false;
      if (held) this.#passAck();
    });
  }

  #ackable(): number {
    const { policy, silentMs } = this.#options;
    const tabs = [...this.#attached.values()].filter(({ isWelcomed }) => isWelcomed);
    return Math.min(this.#received, ackedBy(policy, tabs, { nowMs: performance.now(), silentMs }));
  }

  #sendAck(seq: number): void {
    if (this.#send(JSON.stringify({ type: "ack", seq }))) this.#acked = seq;
  }

  /** From now on everybody here is asked: a tab that has crashed never moves, and would keep this connection open. */
  #leave(): void {
    this.#isLeft = true;
    if (!this.#ended) this.#startPolling();
  }

  #startPolling(): void {
    this.#pollTimer ??= setInterval(() => this.#poll(), POLL_MS);
  }

  /** Who owes an ack says whether it is still there. So does everybody, once others have left. */
  #poll(): void {
    if (this.#isLeft) this.#dropSilent();
    if (this.#ended) return;
    const asked = [...this.#attached.values()].filter(
      ({ wants, acked, sent }) => this.#isLeft || (wants && acked < sent),
    );
    for (const one of asked) one.unanswered++;
    if (asked.length > 0) this.#options.post({ kind: "poll", to: asked.map(({ open }) => open.socket) });
    this.#passAck();
  }

  /** Polls are counted, not milliseconds: this tab may have stood still itself, with the answers unread. */
  #dropSilent(): void {
    const enough = Math.max(1, this.#options.silentMs / POLL_MS);
    const silent = [...this.#attached.values()].filter(({ unanswered }) => unanswered >= enough);
    if (silent.length === 0) return;
    const to = silent.map(({ open }) => open.socket);
    for (const socket of to) this.#remove(socket);
    // One that only stands still reads this when it goes on, and connects anew from where it is.
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
    clearInterval(this.#pollTimer);
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

/** A socket's name begins with that of its tab. */
function tabOf(socket: string): string {
  return socket.slice(0, socket.lastIndexOf("."));
}
