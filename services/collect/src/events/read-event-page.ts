// collect/event-routes, collect/event-stream -> here -> redis/events/read-partition-events: a page over all partitions.
// Guarantees: in order for each user, none left out, and full if there are enough events. An empty page means that
// there was no event of these types when it was read.
import type { EventItem } from "@petrel/shared/protocol/events/event-item";
import type { EventPosition } from "@petrel/shared/protocol/events/event-position";
import type { EventType } from "@petrel/shared/protocol/events/event-types";
import { readPartitionEvents, type EventStart } from "@petrel/shared/redis/events/read-partition-events";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

export interface PageEvent {
  readonly item: EventItem;
  readonly partition: number;
  /** Its position in its partition, just after it. */
  readonly position: EventPosition;
}

export interface EventPage {
  readonly events: readonly PageEvent[];
  /** Where the page begins, by partition. */
  readonly begins: readonly EventPosition[];
  /** Where to continue, by partition. */
  readonly next: readonly EventPosition[];
  /** Events between the cursor and this page are gone. */
  readonly gap: boolean;
}

export interface EventPageOptions {
  readonly limit: number;
  /** All enabled types if absent. */
  readonly types: ReadonlySet<EventType> | undefined;
}

/** Entries per read if some types are filtered out. */
const FILTERED_AT_ONCE = 200;

/** @param starts one for each partition */
export async function readEventPage(
  scripts: ScriptRunner,
  partitions: readonly PartitionKeys[],
  starts: readonly EventStart[],
  { limit, types }: EventPageOptions,
): Promise<EventPage> {
  const reads = partitions.map((keys, i) => ({
    keys,
    from: starts[i] ?? "oldest",
    begins: undefined as EventPosition | undefined,
    found: [] as PageEvent[],
  }));
  let gap = false;
  let room = limit;
  // Rotated, so that the same partitions are not always last if the limit is low.
  let active = rotated(reads, Math.floor(Math.random() * reads.length));
  while (room > 0 && active.length > 0) {
    const quota = types === undefined ? Math.ceil(room / active.length) : FILTERED_AT_ONCE;
    const pages = await scripts.together(() =>
      Promise.all(
        active.map(({ keys, from }) => readPartitionEvents(scripts, keys, from, { limit: quota, types })),
      ),
    );
    const withMore: typeof active = [];
    for (const [i, page] of pages.entries()) {
      const read = active[i];
      if (read === undefined) continue;
      gap ||= page.gap;
      read.begins ??= page.begins;
      const taken = page.events.slice(0, room);
      room -= taken.length;
      read.found.push(...taken.map((event) => ({ ...event, partition: read.keys.partition })));
      // If some events did not fit, the next page begins after the last one that did.
      const isWhole = taken.length === page.events.length;
      read.from = isWhole ? page.next : (taken.at(-1)?.position ?? page.begins);
      if (isWhole && page.hasMore) withMore.push(read);
    }
    active = withMore;
  }
  return {
    events: mergeByTime(reads.map(({ found }) => found)),
    begins: reads.map(({ begins, from }) => begins ?? positionOf(from)),
    next: reads.map(({ from }) => positionOf(from)),
    gap,
  };
}

function positionOf(start: EventStart): EventPosition {
  if (typeof start === "string" || "fromMs" in start) throw new Error("a partition was not read");
  return start;
}

function rotated<T>(list: readonly T[], by: number): T[] {
  return [...list.slice(by), ...list.slice(0, by)];
}

/** Each list keeps its order. */
function mergeByTime(lists: readonly (readonly PageEvent[])[]): PageEvent[] {
  const places = lists.map(() => 0);
  const merged: PageEvent[] = [];
  for (;;) {
    let first: { readonly list: number; readonly event: PageEvent } | undefined;
    for (const [list, events] of lists.entries()) {
      const event = events[places[list] ?? 0];
      // Texts of RFC 3339 in UTC sort by time.
      if (event !== undefined && (first === undefined || event.item.at < first.event.item.at)) {
        first = { list, event };
      }
    }
    if (first === undefined) return merged;
    merged.push(first.event);
    places[first.list] = (places[first.list] ?? 0) + 1;
  }
}
