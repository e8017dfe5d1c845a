// webhooks/webhook-lane -> here: cuts some events, in order, into the body of one request.
// Guarantees: at most 100 events, and 20 KB unless a single event is longer. The body of an open batch is rebuilt from
// the same events, byte for byte, or not at all.
import { hash, randomBytes } from "node:crypto";
import type { EventPosition } from "@petrel/shared/protocol/events/event-position";
import type { EventItem } from "@petrel/shared/protocol/events/event-item";
import type { PartitionEvents, PositionedEvent } from "@petrel/shared/redis/events/read-partition-events";
import type { OpenBatch } from "@petrel/shared/redis/webhooks/webhook-progress";
import { formatTime } from "@petrel/shared/kernel/http/answer-time";

const MAX_EVENTS = 100;
const MAX_BYTES = 20_000;
const ID_BYTES = 16;

export interface Batch {
  readonly open: OpenBatch;
  readonly body: string;
  readonly events: number;
  /** When its oldest event happened, ms by Redis's clock. */
  readonly oldestMs: number;
}

/**
 * @param page what was read, of the wanted types
 * @param gap whether to tell the receiver that earlier events are gone
 * @param atMs wall clock
 * @returns undefined if the page has no event
 */
export function cutBatch({ events, next }: PartitionEvents, gap: boolean, atMs: number): Batch | undefined {
  const taken: PositionedEvent[] = [];
  let bytes = Buffer.byteLength(encodeBody([], gap, atMs));
  for (const event of events) {
    // Includes the comma before it.
    bytes += Buffer.byteLength(JSON.stringify(event.item)) + (taken.length === 0 ? 0 : 1);
    if (taken.length === MAX_EVENTS || (taken.length > 0 && bytes > MAX_BYTES)) break;
    taken.push(event);
  }
  const last = taken.at(-1);
  if (last === undefined) return undefined;
  const end = taken.length === events.length ? next : last.position;
  const id = `msg_${randomBytes(ID_BYTES).toString("base64url")}`;
  return makeBatch(taken, { id, end, atMs, gap });
}

/** @returns undefined if the events have changed: some are gone, or other types are wanted */
export function remakeBatch(page: PartitionEvents, open: OpenBatch): Batch | undefined {
  if (page.gap && !open.gap) return undefined;
  const events = page.events.filter(({ position }) => !isBehind(position, open.end));
  if (events.length === 0) return undefined;
  const batch = makeBatch(events, open);
  return batch.open.sha256 === open.sha256 ? batch : undefined;
}

function makeBatch(events: readonly PositionedEvent[], open: Omit<OpenBatch, "sha256">): Batch {
  const { id, end, atMs, gap } = open;
  const items = events.map(({ item }) => item);
  const body = encodeBody(items, gap, atMs);
  return {
    open: { id, end, atMs, gap, sha256: hash("sha256", body, "base64url") },
    body,
    events: items.length,
    oldestMs: Math.min(...items.map(({ at }) => Date.parse(at))),
  };
}

/** An event keeps its place even under another mark. */
function isBehind(one: EventPosition, other: EventPosition): boolean {
  return one.ms > other.ms || (one.ms === other.ms && one.n > other.n);
}

function encodeBody(items: readonly EventItem[], gap: boolean, atMs: number): string {
  return JSON.stringify({
    type: "events",
    timestamp: formatTime(atMs),
    data: { items, ...(gap ? { gap } : {}) },
  });
}
