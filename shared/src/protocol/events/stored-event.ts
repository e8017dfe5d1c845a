// An event as its partition's stream holds it.
// Guarantees: the scripts (redis/scripts/includes/events/event-log.lua) and this reader agree. The text begins like
// those of all streams that an erasure searches: who TAB seq TAB epoch.
import { eventOfLetter, letterOfEvent, type EventType } from "./event-types.js";

export interface StoredEvent {
  /** A user, or a topic as `recipientOfTopic` writes it. */
  readonly who: string;
  /** "" or "0" if it has none. */
  readonly seq: string;
  /** "" or "@" if it has none. */
  readonly epoch: string;
  readonly type: EventType;
  readonly atMs: number;
  /** Four words whose meaning depends on the type, see `describeEvent`. */
  readonly words: readonly [string, string, string, string];
  /** Its trace context, if the message's trace is sampled. */
  readonly trace: string | undefined;
}

/** who TAB seq TAB epoch TAB letter TAB at TAB four words [TAB trace] */
export function encodeStoredEvent({ who, seq, epoch, type, atMs, words, trace }: StoredEvent): string {
  const fields = [who, seq, epoch, letterOfEvent(type), String(atMs), ...words];
  return (trace === undefined ? fields : [...fields, trace]).join("\t");
}

/** @returns undefined for an event of a type that this release does not know */
export function decodeStoredEvent(text: string): StoredEvent | undefined {
  const [who = "", seq = "", epoch = "", letter = "", at = "", a = "", b = "", c = "", d = "", trace] =
    text.split("\t");
  const type = eventOfLetter(letter);
  if (type === undefined) return undefined;
  return { who, seq, epoch, type, atMs: Number(at), words: [a, b, c, d], trace };
}
