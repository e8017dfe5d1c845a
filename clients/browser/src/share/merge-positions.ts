// upstream -> here: where one connection has to start, so that every tab gets what it misses.
// Guarantees: no tab of the chosen epoch misses anything; a tab of another epoch starts anew, as on a connection of its own.
import type { TopicPosition } from "../frames.js";
import type { Position } from "../delivery/user-sequence.js";

/** Numbers go on rising when the epoch changes, so the furthest tab knows the newest epoch. */
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
