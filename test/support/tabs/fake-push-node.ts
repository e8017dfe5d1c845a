// Tests only: the push node of one user, in memory: numbers, acknowledges, resumes and replays as the contract says.
// Guarantees: counts the connections that are open; keeps each break of the contract that a client makes.
import type { Socket, SocketConstructor } from "@petrel/client";
import type { FakeTab } from "./fake-browser.js";

type Listener = (event: {
  readonly type: string;
  readonly data?: unknown;
  readonly code?: number;
  readonly reason?: string;
}) => void;

export class FakePushNode {
  readonly open = new Set<FakeSocket>();
  readonly offences: string[] = [];
  /** How many there were, in all. */
  connects = 0;
  /** Which of them, by number from 1, brought an ack. */
  readonly ackedOn: number[] = [];
  seq = 0;
  acked = 0;
  /** The topic's newest offset. */
  offset = 0;

  /** How many fresh tokens were accepted. */
  renewals = 0;
  /** As of another user: what is brought to an open connection ends it. */
  refusesTokens = false;

  /** @param epoch the user's */
  constructor(readonly epoch = "e1") {}

  /** Those of tabs that have not crashed. */
  get connections(): number {
    return [...this.open].filter((socket) => !socket.isGone).length;
  }

  /** What a tab's `WebSocket` is. */
  socketFor(tab: FakeTab): SocketConstructor {
    const socketOf = (url: string): Socket => new FakeSocket(this, tab, url);
    const Fake = function (url: string) {
      return socketOf(url);
    };
    return Fake as unknown as SocketConstructor;
  }

  send(): void {
    this.seq++;
    for (const socket of this.open) socket.catchUp();
  }

  /** To the topic `room`. */
  publish(): void {
    this.offset++;
    for (const socket of this.open) socket.catchUpTopic();
  }

  /** All connections end. */
  cut(code: number): void {
    for (const socket of this.open) socket.end(code);
  }

  /** Says why before it ends them. */
  refuse(code: number, error: string): void {
    for (const socket of this.open) {
      socket.say({ type: "error", code: error, message: "no", action: "stop" });
      socket.end(code);
    }
  }

  expire(inSeconds: number): void {
    for (const socket of this.open) socket.say({ type: "token_expiring", inSeconds });
  }

  /** Asks all to move. */
  move(): void {
    for (const socket of this.open)
      socket.say({ type: "reconnect", afterMs: 5, reason: "PETREL_SHUTTING_DOWN" });
  }
}

class FakeSocket implements Socket {
  readyState = 0;
  readonly #node: FakePushNode;
  readonly #tab: FakeTab;
  readonly #listeners = new Map<string, Listener[]>();
  #isAuthorised = false;
  #number = 0;
  #sent = 0;
  #topicSent: number | undefined;
  #isWelcomed = false;

  constructor(node: FakePushNode, tab: FakeTab, address: string) {
    this.#node = node;
    this.#tab = tab;
    const query = new URL(address).searchParams;
    tab.leave(() => {
      setTimeout(() => this.#accept(query), 2);
    });
  }

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  send(text: string): void {
    this.#tab.leave(() => {
      if (this.readyState === 1) this.#take(JSON.parse(text) as Readonly<Record<string, unknown>>);
    });
  }

  close(code = 1000): void {
    this.readyState = 2;
    this.#tab.leave(() => this.end(code));
  }

  end(code: number): void {
    this.#node.open.delete(this);
    if (this.readyState === 3) return;
    this.#tab.deliver(() => {
      this.readyState = 3;
      this.#fire({ type: "close", code, reason: "" });
    });
  }

  say(frame: object): void {
    const data = JSON.stringify(frame);
    this.#tab.deliver(() => {
      if (this.readyState === 1) this.#fire({ type: "message", data });
    });
  }

  catchUp(): void {
    if (!this.#isWelcomed || this.isGone) return;
    while (this.#sent < this.#node.seq) {
      const seq = ++this.#sent;
      this.say({
        type: "message",
        id: `${this.#node.epoch}.${seq}`,
        seq,
        at: "2030-01-01T00:00:00.000Z",
        data: seq,
      });
    }
  }

  catchUpTopic(): void {
    if (this.#topicSent === undefined || this.isGone) return;
    while (this.#topicSent < this.#node.offset) {
      const offset = ++this.#topicSent;
      const at = "2030-01-01T00:00:00.000Z";
      this.say({ type: "message", topic: "room", id: `t${offset}`, offset, at, data: offset });
    }
  }

  get isAuthorised(): boolean {
    return this.#isAuthorised;
  }

  /** The system of a tab that has crashed closes its sockets. */
  get isGone(): boolean {
    return this.#tab.isCrashed;
  }

  #accept(query: URLSearchParams): void {
    if (this.isGone || this.readyState !== 0) return;
    const node = this.#node;
    const isResumed = query.get("epoch") === this.#node.epoch;
    const after = isResumed ? Number(query.get("since")) : node.acked;
    if (after > node.seq) node.offences.push(`since ${after} of ${node.seq}`);
    node.acked = Math.max(node.acked, after);
    node.open.add(this);
    this.#number = ++node.connects;
    this.#sent = after;
    this.#isWelcomed = true;
    this.readyState = 1;
    this.#tab.deliver(() => this.#fire({ type: "open" }));
    const fields = { connection: "c", node: "n", user: "alice", pingSeconds: 25, ackWithinMs: 20 };
    const features = ["ack", "resume", "topics", "publish"];
    const welcome = {
      type: "welcome",
      ...fields,
      epoch: node.epoch,
      seq: node.seq,
      after,
      resumed: isResumed,
      features,
    };
    this.say(welcome);
    const [, allOffset] = /^all1:(\d+)$/.exec(query.get("all") ?? "") ?? [];
    const broadcast = {
      topic: "$all",
      epoch: "all1",
      offset: 0,
      oldest: 1,
      recovered: allOffset !== undefined,
    };
    this.say({ type: "subscribed", ...broadcast });
    this.catchUp();
  }

  #take(frame: Readonly<Record<string, unknown>>): void {
    const node = this.#node;
    if (frame["type"] === "ack") {
      const seq = Number(frame["seq"]);
      if (seq > this.#sent) node.offences.push(`ack ${seq} above ${this.#sent}`);
      node.acked = Math.max(node.acked, seq);
      node.ackedOn.push(this.#number);
    } else if (frame["type"] === "ping") this.say({ type: "pong" });
    else if (frame["type"] === "token" && node.refusesTokens) node.refuse(4403, "PETREL_USER_CHANGED");
    else if (frame["type"] === "token") {
      node.renewals++;
      this.say({ type: "token_accepted", expiresIn: 600 });
    } else if (frame["type"] === "auth") this.#isAuthorised = true;
    else if (frame["type"] === "subscribe") {
      for (const entry of frame["topics"] as readonly { topic: string; epoch?: string; offset?: number }[]) {
        this.#subscribe(entry);
      }
    } else if (frame["type"] === "unsubscribe") {
      for (const { topic } of frame["topics"] as readonly { topic: string }[]) {
        if (topic === "room") this.#topicSent = undefined;
        this.say({ type: "unsubscribed", topic });
      }
    } else if (frame["type"] === "publish") {
      node.publish();
      const { ref, topic } = frame;
      const published = { id: `t${node.offset}`, topic, epoch: "t1", offset: node.offset, duplicate: false };
      this.say({ type: "published", ref, ...published });
    } else node.offences.push(`a frame ${String(frame["type"])}`);
  }

  #subscribe({ topic, epoch, offset }: { topic: string; epoch?: string; offset?: number }): void {
    if (topic === "$all") {
      this.say({
        type: "subscribed",
        topic,
        epoch: "all1",
        offset: 0,
        oldest: 1,
        recovered: epoch === "all1",
      });
      return;
    }
    const newest = this.#node.offset;
    const recovered = epoch === "t1" && offset !== undefined && offset <= newest;
    this.say({ type: "subscribed", topic, epoch: "t1", offset: newest, oldest: 1, recovered });
    this.#topicSent = recovered ? offset : newest;
    this.catchUpTopic();
  }

  #fire(event: Parameters<Listener>[0]): void {
    for (const listener of this.#listeners.get(event.type) ?? []) listener(event);
  }
}
