// {hub, upstream} -> here: where one connection has to start, so that every tab gets what it misses, and where each tab
// continues on it.
// Guarantees: no tab of the chosen epoch misses anything; a tab of another epoch starts over, as on a connection of its
// own.
import type { TopicPosition } from "../../frames.js";
import type { Position } from "../../delivery/user-sequence.js";

/** Numbers keep rising when the epoch changes, so the furthest tab knows the newest epoch. */
export function lowestPosition(positions: readonly (Position | undefined)[]): Position | undefined {
  const known = positions.filter((one) => one !== undefined);
  const furthest = known.toSorted((one, other) => other.since - one.since).at(0);
  return known
    .filter(({ epoch }) => epoch === furthest?.epoch)
    .toSorted((one, other) => one.since - other.since)
    .at(0);
}

export function lowestBroadcast(
  positions: readonly (TopicPosition | undefined)[],
): TopicPosition | undefined {
  const known = positions.filter((one) => one !== undefined);
  const furthest = known.toSorted((one, other) => other.offset - one.offset).at(0);
  return known
    .filter(({ epoch }) => epoch === furthest?.epoch)
    .toSorted((one, other) => one.offset - other.offset)
    .at(0);
}

/** A connection, as the joining tabs see it. */
export interface Started {
  readonly epoch: string;
  /** Everything after this has arrived, and is still there. */
  readonly start: number;
  /** The position in its address, and whether the server resumed it. */
  readonly asked: Position | undefined;
  readonly resumed: boolean;
}

/** @returns whether a tab needs what came before the start, and nobody asked the server for that */
export function misses(position: Position | undefined, { epoch, start, asked, resumed }: Started): boolean {
  if (position?.epoch !== epoch || position.since >= start) return false;
  // The server was asked for it, and no longer has it.
  const isGone = asked?.epoch === epoch && position.since <= asked.since;
  return !isGone || resumed;
}

/** @param acked what the tabs have acknowledged: a new one does not get it again */
export function placeOf(
  position: Position | undefined,
  { epoch, start }: Started,
  acked: number,
): { readonly after: number; readonly resumed: boolean } {
  if (position === undefined) return { after: Math.max(start, acked), resumed: false };
  const resumed = position.epoch === epoch && position.since >= start;
  return { after: resumed ? position.since : start, resumed };
}
