// push-node/topics/topic-requests, push-node/fan-out/fan-out -> here: brings a member of a topic to its newest message:
// one that joins, returns, was slow, or belongs to a former era.
// Guarantees: `subscribed` precedes every message of an era, and says `recovered` only if nothing is missing. A socket
// gets more only when it has accepted what it was given; all members of a connection wait for it together.
import { pause } from "@petrel/shared/kernel/pause";
import { encodeServerFrame } from "@petrel/shared/protocol/frames/server-frames";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { isRecoverable } from "@petrel/shared/redis/topics/read-topic";
import type { Connection, Subscription } from "../connection/connection.js";
import { encodeTextFrame } from "../connection/encode-text-frame.js";
import type { TopicEra } from "../connection/subscription.js";
import type { NodeTopic, TopicPosition } from "./node-topic.js";

export interface TopicCatchUpDeps {
  /** The clock of a partition's master now, ms; undefined if unknown. */
  readonly redisNowMs: (keys: PartitionKeys) => number | undefined;
  /** The most bytes that may wait in a member's socket. */
  readonly outboundBoundBytes: number;
  readonly topicOf: (name: string) => NodeTopic | undefined;
  /** Reads the whole log of a topic. Resolves when that is done, or has failed. */
  readonly readLog: (topic: NodeTopic) => Promise<void>;
  readonly onSent: (messages: number) => void;
}

/** `none`: no position was given */
export type Recovery = "recovered" | "failed" | "none";

/** What the last client that joined here was sent: a returning crowd mostly starts at the same position. */
interface Beginning {
  readonly era: TopicEra;
  readonly offset: number;
  readonly oldest: number;
  readonly after: number;
  readonly recovered: boolean;
  readonly untilMs: number;
  readonly bytes: Buffer;
  readonly upTo: number;
}

/** How long after its expiry a message may still be sent. */
const BEGINNING_KEEP_MS = 100;
const RETRY_MS = 100;

export class TopicCatchUp {
  readonly #deps: TopicCatchUpDeps;
  readonly #beginnings = new WeakMap<NodeTopic, Beginning>();
  /** Connections whose socket is full, with their members that are behind. */
  readonly #behind = new Map<Connection, Set<Subscription>>();

  constructor(deps: TopicCatchUpDeps) {
    this.#deps = deps;
  }

  /**
   * Whether this node has everything after a position, or `subscribed` can report the loss, without reading the log.
   */
  hasAll(topic: NodeTopic, position: TopicPosition | undefined): boolean {
    if (position === undefined) return true;
    return !this.#isRecoverable(topic, position) || position.offset + 1 >= topic.ring.first;
  }

  /** Queues `subscribed`, and as much of what is missing as may be sent now; the caller flushes. */
  begin(topic: NodeTopic, member: Subscription, position: TopicPosition | undefined): Recovery {
    const recovered = position !== undefined && this.#isRecoverable(topic, position);
    const after = recovered ? position.offset : topic.offset;
    const beginning = this.#beginningOf(topic, recovered, after);
    member.era = topic.era;
    member.lastOffset = beginning.upTo;
    member.connection.queue(beginning.bytes);
    if (beginning.upTo < topic.offset) this.leaveBehind(member);
    if (position === undefined) return "none";
    return recovered ? "recovered" : "failed";
  }

  /**
   * Queues as much of what it lacks as may be sent now; the caller flushes. Leaves a member alone that is already
   * behind.
   */
  bring(topic: NodeTopic, member: Subscription): void {
    const { era, lastOffset, connection } = member;
    if (member.isBehind) return;
    if (era !== topic.era) {
      this.begin(topic, member, { epoch: era?.epoch ?? "", offset: lastOffset });
      return;
    }
    if (lastOffset >= topic.offset) return;
    if (connection.waitingBytes <= this.#deps.outboundBoundBytes) this.#sendMore(topic, member);
    if (member.lastOffset < topic.offset) this.leaveBehind(member);
  }

  /** From here on it continues as its socket drains. */
  leaveBehind(member: Subscription): void {
    const { connection } = member;
    member.isBehind = true;
    const others = this.#behind.get(connection);
    if (others !== undefined) {
      others.add(member);
      return;
    }
    const members = new Set([member]);
    this.#behind.set(connection, members);
    void this.#readOn(connection, members);
  }

  async #readOn(connection: Connection, members: Set<Subscription>): Promise<void> {
    while (members.size > 0 && connection.isOpen) {
      // Yield to the others, even if the kernel accepts everything at once.
      if (connection.mustDrain) await connection.drained();
      else await new Promise((resolve) => setImmediate(resolve));
      for (const member of members) {
        if (connection.mustDrain || !connection.isOpen) break;
        const topic = this.#deps.topicOf(member.topic);
        if (member.index === -1 || topic === undefined) members.delete(member);
        else if (!topic.isReady) await pause(RETRY_MS);
        else if (this.#needsLog(topic, member)) await this.#untilLogIsRead(topic, member);
        else {
          member.isBehind = false;
          this.#takeTurn(topic, member);
          connection.flush();
          // Compared in the turn in which it was sent the newest message, so nothing can have arrived in between.
          if (member.era === topic.era && member.lastOffset >= topic.offset) members.delete(member);
          else member.isBehind = true;
        }
      }
    }
    this.#behind.delete(connection);
  }

  #takeTurn(topic: NodeTopic, member: Subscription): void {
    const position = { epoch: member.era?.epoch ?? "", offset: member.lastOffset };
    const oldest = this.oldestOf(topic);
    // It belongs to a former era, or what it lacks is no longer kept: tell it so.
    if (member.era !== topic.era || member.lastOffset + 1 < oldest) this.begin(topic, member, position);
    else this.#sendMore(topic, member);
  }

  /** What it lacks is kept, but not here. */
  #needsLog(topic: NodeTopic, { era, lastOffset }: Subscription): boolean {
    const next = lastOffset + 1;
    return era === topic.era && next < topic.ring.first && next >= this.oldestOf(topic);
  }

  async #untilLogIsRead(topic: NodeTopic, member: Subscription): Promise<void> {
    await this.#deps.readLog(topic);
    // Its ring had to make room at once, so do not retry too often.
    if (this.#needsLog(topic, member)) await pause(RETRY_MS);
  }

  #sendMore(topic: NodeTopic, member: Subscription): void {
    if (member.lastOffset + 1 < topic.ring.first) return;
    const nowMs = this.#deps.redisNowMs(topic.keys);
    const { bytes, upTo } = topic.ring.runAfter(member.lastOffset, this.#deps.outboundBoundBytes, nowMs);
    if (bytes.length > 0) member.connection.queue(bytes);
    this.#deps.onSent(upTo - member.lastOffset);
    member.lastOffset = upTo;
  }

  /** The smallest number that is kept now. */
  oldestOf(topic: NodeTopic): number {
    return topic.oldestNow(this.#deps.redisNowMs(topic.keys));
  }

  #isRecoverable(topic: NodeTopic, position: TopicPosition): boolean {
    const oldest = this.oldestOf(topic);
    const { era, offset, previous } = topic;
    return isRecoverable({ epoch: era.epoch, offset, oldest, previous }, position);
  }

  #beginningOf(topic: NodeTopic, recovered: boolean, after: number): Beginning {
    const known = this.#beginnings.get(topic);
    const { era, offset } = topic;
    const oldest = this.oldestOf(topic);
    if (
      known !== undefined &&
      known.era === era &&
      known.offset === offset &&
      known.oldest === oldest &&
      known.after === after &&
      known.recovered === recovered &&
      performance.now() < known.untilMs
    ) {
      this.#deps.onSent(known.upTo - after);
      return known;
    }
    const { epoch } = era;
    const frame = encodeTextFrame(
      encodeServerFrame({ type: "subscribed", topic: topic.name, epoch, offset, oldest, recovered }),
    );
    const isHere = after < offset && after + 1 >= topic.ring.first;
    const nowMs = this.#deps.redisNowMs(topic.keys);
    const run = isHere ? topic.ring.runAfter(after, this.#deps.outboundBoundBytes, nowMs) : undefined;
    const beginning: Beginning = {
      era,
      offset,
      oldest,
      after,
      recovered,
      untilMs: performance.now() + BEGINNING_KEEP_MS,
      bytes: run === undefined ? frame : Buffer.concat([frame, run.bytes]),
      upTo: run?.upTo ?? after,
    };
    this.#beginnings.set(topic, beginning);
    this.#deps.onSent(beginning.upTo - after);
    return beginning;
  }
}
