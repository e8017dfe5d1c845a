// Where a reader stands in the event stream of one partition, and the id of an event.
// Guarantees: a position names the stream's mark, which changes whenever Redis may have lost its last writes. So an
// entry id that Redis assigns twice is never mistaken for one that was read.

/** Just after the last event that was read. */
export interface EventPosition {
  /** The mark of the stream's history, ms; see redis/scripts/includes/events/event-log.lua. */
  readonly mark: number;
  /** The two parts of an entry's id in the stream. */
  readonly ms: number;
  readonly n: number;
}

const FORM = /^([0-9a-z]{1,11})\.([0-9a-z]{1,11})\.([0-9a-z]{1,11})$/;

export function encodeEventPosition({ mark, ms, n }: EventPosition): string {
  return [mark, ms, n].map((part) => part.toString(36)).join(".");
}

/** @returns undefined for any text that `encodeEventPosition` does not make */
export function decodeEventPosition(text: string): EventPosition | undefined {
  const [, ...parts] = FORM.exec(text) ?? [];
  const [mark, ms, n] = parts.map((part) => Number.parseInt(part, 36));
  if (mark === undefined || ms === undefined || n === undefined) return undefined;
  if (![mark, ms, n].every(Number.isSafeInteger)) return undefined;
  const position = { mark, ms, n };
  return encodeEventPosition(position) === text ? position : undefined;
}

/** @param position of the event itself, under the mark it was written with */
export function encodeEventId(partition: number, position: EventPosition): string {
  return `${partition}.${encodeEventPosition(position)}`;
}
