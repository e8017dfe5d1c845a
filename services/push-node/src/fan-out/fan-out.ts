// push-node/fan-out/follow-topics -> here -> push-node/connection/connection: a topic's messages go to its members.
// Guarantees: a delivery costs one write: messages that come together are one piece, encoded once; a slice of at most
// 256 sockets or 5 ms, then everything else of this process has its turn; a slow socket leaves, and delays no other; no
// member is passed by: see node-topic.
import type { TopicCatchUp } from "./topic-catch-up.js";
import type { FanOutPass, NodeTopic } from "./node-topic.js";

export interface FanOutDeps {
  readonly catchUp: TopicCatchUp;
  /** Bytes that may wait in a member's socket. */
  readonly outboundBoundBytes: number;
  readonly observer: FanOutObserver;
}

export interface FanOutObserver {
  /** All members have what came, from its arrival on. */
  readonly passed: (topic: NodeTopic, pass: FanOutPass, ms: number) => void;
}

const MAX_SOCKETS = 256;
const MAX_MS = 5;
/** How often the time is looked at. */
const LOOK_EVERY = 16;
/** Of one pass: what waits in a socket is bounded. */
const MAX_PASS_BYTES = 256 * 1024;

export class FanOut {
  readonly #deps: FanOutDeps;
  /** In the order of their turns. */
  readonly #due = new Set<NodeTopic>();
  #isScheduled = false;

  constructor(deps: FanOutDeps) {
    this.#deps = deps;
  }

  /** It has messages, or waiters that may be served. Not at once: what comes in one turn goes out together. */
  due(topic: NodeTopic): void {
    this.#due.add(topic);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#slice());
  }

  #slice(): void {
    this.#isScheduled = false;
    const endMs = performance.now() + MAX_MS;
    let room = MAX_SOCKETS;
    for (const topic of this.#due) {
      this.#due.delete(topic);
      room -= this.#serve(topic, room, endMs);
      // To the end of the line: a small topic does not wait for a large one.
      if (this.#hasMore(topic)) this.#due.add(topic);
      if (room <= 0 || performance.now() >= endMs) break;
    }
    if (this.#due.size === 0 || this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#slice());
  }

  #hasMore(topic: NodeTopic): boolean {
    if (topic.phase === "closed") return false;
    return (
      topic.pass !== undefined || topic.passed < topic.offset || (topic.isReady && topic.waiters.length > 0)
    );
  }

  /** @returns how many sockets had their turn */
  #serve(topic: NodeTopic, room: number, endMs: number): number {
    let served = 0;
    while (topic.isReady && served < room) {
      const waiter = topic.waiters.shift();
      if (waiter === undefined) break;
      waiter.onReady();
      served++;
      if (served % LOOK_EVERY === 0 && performance.now() >= endMs) return served;
    }
    topic.pass ??= this.#nextPass(topic);
    if (topic.pass === undefined) return served;
    return served + this.#advance(topic, topic.pass, room - served, endMs);
  }

  #nextPass(topic: NodeTopic): FanOutPass | undefined {
    if (topic.passed >= topic.offset) return undefined;
    const { bytes, upTo } = topic.ring.runAfter(topic.passed, MAX_PASS_BYTES, undefined);
    const pass: FanOutPass = {
      from: topic.passed,
      to: upTo,
      bytes,
      cursor: topic.members.length - 1,
      sinceMs: topic.dueSinceMs,
      sent: 0,
      traces: topic.traces,
    };
    topic.traces = [];
    topic.passed = upTo;
    return pass;
  }

  #advance(topic: NodeTopic, pass: FanOutPass, room: number, endMs: number): number {
    const { members, era } = topic;
    const { from, to, bytes } = pass;
    const { outboundBoundBytes, catchUp } = this.#deps;
    let served = 0;
    let i = Math.min(pass.cursor, members.length - 1);
    for (; i >= 0 && served < room; i--) {
      const member = members[i];
      if (member === undefined || member.isBehind) continue;
      if (bytes !== undefined && member.lastOffset === from && member.era === era) {
        const { connection } = member;
        if (connection.waitingBytes > outboundBoundBytes) {
          catchUp.leaveBehind(member);
          continue;
        }
        connection.write(bytes);
        member.lastOffset = to;
        pass.sent++;
      } else if (member.era !== era || member.lastOffset < to) {
        catchUp.bring(topic, member);
        member.connection.flush();
      } else continue;
      served++;
      if (served % LOOK_EVERY === 0 && performance.now() >= endMs) {
        i--;
        break;
      }
    }
    pass.cursor = i;
    if (i < 0) {
      topic.pass = undefined;
      this.#deps.observer.passed(topic, pass, performance.now() - pass.sinceMs);
      topic.letGo();
    }
    return served;
  }
}
