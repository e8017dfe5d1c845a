// push-node/fan-out/follow-topics -> here -> push-node/connection/connection: sends a topic's messages to its members.
// Guarantees: a delivery costs one write: messages that arrive together are one piece, encoded once. What comes during a
// pass over many members, or soon after, arrives together. After a slice of at most 256 sockets or 5 ms, everything else
// in this process gets its turn. A slow socket drops out and delays no other. No member is missed: see node-topic.
import type { TopicCatchUp } from "./topic-catch-up.js";
import type { FanOutPass, NodeTopic } from "./node-topic.js";

export interface FanOutDeps {
  readonly catchUp: TopicCatchUp;
  /** The most bytes that may wait in a member's socket. */
  readonly outboundBoundBytes: number;
  readonly observer: FanOutObserver;
}

export interface FanOutObserver {
  /** All members have been served; ms since the messages arrived. */
  readonly passed: (topic: NodeTopic, pass: FanOutPass, ms: number) => void;
}

const MAX_SOCKETS = 256;
const MAX_MS = 5;
/** How often the clock is read. */
const LOOK_EVERY = 16;
/** Per pass, because what waits in a socket is bounded. */
const MAX_PASS_BYTES = 256 * 1024;
/**
 * After a pass a topic rests for as long as the pass took. What comes meanwhile shares the next one: on a busy topic
 * that halves the writes, and leaves half of the time to everything else. A quiet topic has rested, so its message
 * does not wait; nor does one for few members, as their pass is shorter than any timer.
 */
const MIN_REST_MS = 1;
const MAX_REST_MS = 10;

export class FanOut {
  readonly #deps: FanOutDeps;
  /** In the order of their turns. */
  readonly #due = new Set<NodeTopic>();
  #isScheduled = false;

  constructor(deps: FanOutDeps) {
    this.#deps = deps;
  }

  /** The topic has messages, or waiters to serve. Deferred, so that what arrives in one turn is sent together. */
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
      // Back to the end of the queue: a small topic must not wait for a large one.
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
      topic.pass !== undefined ||
      (topic.passed < topic.offset && !topic.isResting) ||
      (topic.isReady && topic.waiters.length > 0)
    );
  }

  #rest(topic: NodeTopic, passMs: number): void {
    if (passMs < MIN_REST_MS) return;
    topic.isResting = true;
    setTimeout(
      () => {
        topic.isResting = false;
        if (this.#hasMore(topic)) this.due(topic);
      },
      Math.min(passMs, MAX_REST_MS),
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
    if (topic.passed >= topic.offset || topic.isResting) return undefined;
    const { bytes, upTo } = topic.ring.runAfter(topic.passed, MAX_PASS_BYTES, undefined);
    const pass: FanOutPass = {
      from: topic.passed,
      to: upTo,
      bytes,
      cursor: topic.members.length - 1,
      begunMs: performance.now(),
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
      const nowMs = performance.now();
      topic.pass = undefined;
      this.#rest(topic, nowMs - pass.begunMs);
      this.#deps.observer.passed(topic, pass, nowMs - pass.sinceMs);
      topic.letGo();
    }
    return served;
  }
}
