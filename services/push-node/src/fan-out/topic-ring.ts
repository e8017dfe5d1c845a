// push-node/fan-out/node-topic -> here: the newest messages of a topic, as frames.
// Guarantees: without a gap, up to the topic's newest number; it knows which of them the log still keeps.
import { encodeTopicMessageFrame } from "@petrel/shared/protocol/frames/server-frames";
import type { TopicMessage } from "@petrel/shared/protocol/topics/topic-messages";
import { encodeTextFrame } from "../connection/encode-text-frame.js";

export interface RingEntry {
  readonly frame: Buffer;
  readonly atMs: number;
  readonly expiresAtMs: number;
  /** Its size as the log counts it. */
  readonly logBytes: number;
}

/** Consecutive frames, in one piece. */
export interface FrameRun {
  readonly bytes: Buffer;
  /** The number of its last message, or of an expired one after it. */
  readonly upTo: number;
}

export function ringEntryOf(topic: string, message: TopicMessage): RingEntry {
  const { id, offset, atMs, expiresAtMs, from, data } = message;
  const at = new Date(atMs).toISOString();
  return {
    frame: encodeTextFrame(encodeTopicMessageFrame(id, topic, offset, at, from, data)),
    atMs,
    expiresAtMs,
    logBytes: logBytesOf(message),
  };
}

/** See topics/publish-topic.lua: epoch TAB at TAB expiresAt TAB id TAB from TAB data [TAB trace] */
function logBytesOf({ epoch, atMs, expiresAtMs, id, from, data, trace }: TopicMessage): number {
  const times = String(atMs).length + String(expiresAtMs).length;
  const traced = trace === undefined ? 0 : trace.length + 1;
  return epoch.length + times + id.length + from.length + Buffer.byteLength(data) + traced + 5;
}

export class TopicRing {
  /** The number of the first entry; if there is none, of the next message. */
  #first: number;
  #entries: RingEntry[] = [];
  #bytes = 0;

  /** @param first the number of the first message to come */
  constructor(first: number) {
    this.#first = first;
  }

  get first(): number {
    return this.#first;
  }

  get length(): number {
    return this.#entries.length;
  }

  /** Of the frames. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @returns undefined if it does not have this number */
  at(offset: number): RingEntry | undefined {
    return this.#entries[offset - this.#first];
  }

  /** The next message. */
  append(entry: RingEntry): void {
    this.#entries.push(entry);
    this.#bytes += entry.frame.length;
  }

  /** Adds the messages before the first. */
  prepend(entries: readonly RingEntry[]): void {
    this.#entries = [...entries, ...this.#entries];
    this.#first -= entries.length;
    for (const { frame } of entries) this.#bytes += frame.length;
  }

  /** Drops messages with numbers below this one. */
  dropBelow(offset: number): void {
    const count = Math.min(offset - this.#first, this.#entries.length);
    if (count <= 0) return;
    if (count === 1) this.#bytes -= this.#entries.shift()?.frame.length ?? 0;
    else for (const { frame } of this.#entries.splice(0, count)) this.#bytes -= frame.length;
    this.#first += count;
  }

  /**
   * The frames after a number, up to `maxBytes`, at least one; without expired ones.
   * @param after not below `first - 1`
   * @param nowMs Redis's clock; undefined if unknown
   */
  runAfter(after: number, maxBytes: number, nowMs: number | undefined): FrameRun {
    const frames: Buffer[] = [];
    let bytes = 0;
    let i = after + 1 - this.#first;
    for (; i < this.#entries.length; i++) {
      const entry = this.#entries[i];
      if (entry === undefined || (nowMs !== undefined && entry.expiresAtMs <= nowMs)) continue;
      if (frames.length > 0 && bytes + entry.frame.length > maxBytes) break;
      frames.push(entry.frame);
      bytes += entry.frame.length;
    }
    const [only] = frames;
    return {
      bytes: frames.length === 1 && only !== undefined ? only : Buffer.concat(frames),
      upTo: this.#first + i - 1,
    };
  }
}
