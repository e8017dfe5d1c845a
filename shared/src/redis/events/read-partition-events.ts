// events/read-events.lua -> here: the events of one partition, from a position on.
// Guarantees: in the order in which they were written, and so in order for each user; none that is still kept is left
// out. If something between the position and the next event is gone, `gap` reports it, once.
import { decodeStoredEvent } from "../../protocol/events/stored-event.js";
import { describeEvent, type EventItem } from "../../protocol/events/event-item.js";
import { encodeEventId, type EventPosition } from "../../protocol/events/event-position.js";
import type { EventType } from "../../protocol/events/event-types.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** Where to begin: after a position, at the oldest kept event, with the next new one, or at a time by Redis's clock. */
export type EventStart = EventPosition | "oldest" | "now" | { readonly fromMs: number };

export interface PositionedEvent {
  readonly item: EventItem;
  /** Just after this event: reading from here returns the next one. */
  readonly position: EventPosition;
}

export interface PartitionEvents {
  readonly events: readonly PositionedEvent[];
  /** Where the page begins: the start, or after what is gone. */
  readonly begins: EventPosition;
  /** Where to continue: after everything that was read, including events of other types. */
  readonly next: EventPosition;
  /** Events between the start and the first of these are gone: there were too many, or Redis lost them. */
  readonly gap: boolean;
  /** Whether the limit rather than the end of the stream has ended this page. */
  readonly hasMore: boolean;
}

export interface ReadEventsOptions {
  /** How many entries to read; fewer events if some are of other types. */
  readonly limit: number;
  /** All types if absent. */
  readonly types?: ReadonlySet<EventType> | undefined;
}

const MAX_PER_CALL = 200;

export async function readPartitionEvents(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  start: EventStart,
  { limit, types }: ReadEventsOptions,
): Promise<PartitionEvents> {
  const events: PositionedEvent[] = [];
  let from = start;
  let begins: EventPosition | undefined;
  let gap = false;
  for (let left = limit; ;) {
    const asked = Math.min(left, MAX_PER_CALL);
    const page = await readPage(scripts, keys, from, asked);
    gap ||= page.gap;
    begins ??= page.begins;
    from = page.next;
    left -= page.count;
    events.push(...page.events.filter(({ item }) => types?.has(item.type) ?? true));
    // (A page may be shorter if its events are long.)
    if (page.count === 0 || left <= 0) {
      return { events, begins, next: page.next, gap, hasMore: page.count > 0 };
    }
  }
}

interface Page extends Omit<PartitionEvents, "hasMore"> {
  readonly count: number;
}

async function readPage(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  start: EventStart,
  limit: number,
): Promise<Page> {
  const answer = await scripts.run(
    "read-events.v1",
    [keys.events, keys.eventLog, keys.generation],
    [...encodeStart(start), limit],
  );
  const [head = "", ...lines] = answer.split("\n");
  const [marksText = "", begins = "", gap] = head.split("\t");
  const marks = marksText.split(",").map((text) => {
    const [mark, id = ""] = text.split(":");
    return { mark: Number(mark), ...decodeEntryId(id) };
  });
  const current = marks.at(-1)?.mark ?? 0;
  const events: PositionedEvent[] = [];
  const first = decodeEntryId(begins);
  let last = first;
  for (const line of lines) {
    const tab = line.indexOf("\t");
    last = decodeEntryId(line.slice(0, tab));
    const event = decodeStoredEvent(line.slice(tab + 1));
    if (event === undefined) continue;
    const written = { ...last, mark: markOf(marks, last) };
    events.push({
      item: describeEvent(encodeEventId(keys.partition, written), event),
      position: { ...last, mark: current },
    });
  }
  return {
    events,
    begins: { ...first, mark: current },
    next: { ...last, mark: current },
    gap: gap === "1",
    count: lines.length,
  };
}

function encodeStart(start: EventStart): [mark: string, after: string] {
  if (typeof start === "string") return ["", start];
  if ("fromMs" in start) return ["", String(Math.floor(start.fromMs))];
  return [String(start.mark), `${start.ms}-${start.n}`];
}

type EntryId = Pick<EventPosition, "ms" | "n">;

function decodeEntryId(id: string): EntryId {
  const [ms, n] = id.split("-");
  return { ms: Number(ms), n: Number(n) };
}

/** The mark that an entry was written with: the last one that begins before it. */
function markOf(
  marks: readonly (EventPosition | (EntryId & { readonly mark: number }))[],
  id: EntryId,
): number {
  const found = marks.findLast(({ ms, n }) => ms < id.ms || (ms === id.ms && n < id.n));
  return found?.mark ?? marks[0]?.mark ?? 0;
}
