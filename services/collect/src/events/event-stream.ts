// collect/event-routes -> here -> collect/read-event-page, collect/event-heads: events as server-sent events.
// Guarantees: the same events as the long poll's, each with the cursor after it, so a reader that reconnects continues
// where it stopped. Never reads ahead of a slow reader: at most one page waits for it.
import { Readable } from "node:stream";
import { encodeEventCursor } from "@petrel/shared/protocol/events/event-cursor";
import type { EventPosition } from "@petrel/shared/protocol/events/event-position";
import type { EventStart } from "@petrel/shared/redis/events/read-partition-events";
import type { EventPage } from "./read-event-page.js";

export interface EventStreamOptions {
  readonly read: (starts: readonly EventStart[], hasWaited: boolean) => Promise<EventPage>;
  readonly wait: (positions: readonly EventPosition[], ms: number, signal: AbortSignal) => Promise<void>;
  /** Aborted when the reader is gone, the process stops, or the stream has lasted long enough. */
  readonly signal: AbortSignal;
  readonly commentMs?: number;
}

const COMMENT_MS = 15_000;
const PAGE = 100;

/** Events per page of a stream. */
export const STREAM_PAGE = PAGE;

export function openEventStream(starts: readonly EventStart[], options: EventStreamOptions): Readable {
  return Readable.from(writeEvents(starts, options), { objectMode: false, highWaterMark: 1 });
}

async function* writeEvents(
  starts: readonly EventStart[],
  { read, wait, signal, commentMs = COMMENT_MS }: EventStreamOptions,
): AsyncGenerator<string> {
  let from = starts;
  let hasWaited = false;
  let told: string | undefined;
  while (!signal.aborted) {
    const page = await read(from, hasWaited);
    const text = encodePage(page);
    const cursor = encodeEventCursor(page.next);
    if (text !== "") yield text;
    // A comment, so that no client takes it for an event. Its cursor still counts, for a reader that reconnects before
    // the first event, or after many of other types.
    else if (told === undefined) yield comment(cursor);
    told = cursor;
    from = page.next;
    if (page.events.length > 0) continue;
    const before = performance.now();
    await wait(page.next, commentMs, signal);
    hasWaited = true;
    if (!signal.aborted && performance.now() - before >= commentMs - 1) yield comment(cursor);
  }
}

/** A comment line also keeps proxies from closing an idle connection. */
function comment(cursor: string): string {
  return `:\nid: ${cursor}\n\n`;
}

function encodePage({ events, begins, gap }: EventPage): string {
  const positions = [...begins];
  const blocks = gap ? [`id: ${encodeEventCursor(positions)}\nevent: gap\ndata: {}\n\n`] : [];
  for (const { item, partition, position } of events) {
    positions[partition] = position;
    blocks.push(`id: ${encodeEventCursor(positions)}\ndata: ${JSON.stringify(item)}\n\n`);
  }
  return blocks.join("");
}
