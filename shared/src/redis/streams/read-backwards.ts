// redis/auth/audit-log, redis/streams/list-newest-first -> here: reads a stream backwards from its newest entry, in
// steps.
import type { Redis } from "../connection/connect.js";
import type { RawEntry } from "./stream-entry.js";

/** Begins a read at the newest entry. */
export const NEWEST = "+";

export interface BackwardsStep {
  /** Newest first. */
  readonly entries: readonly RawEntry[];
  /** Where the next step begins; undefined if there is nothing older. */
  readonly next: string | undefined;
}

/** A start for reading the entries older than this one. */
export function olderThan(entryId: string): string {
  return `(${entryId}`;
}

/** @param from NEWEST, `olderThan` an entry, or an entry's id to begin with that entry */
export async function readBackwards(
  redis: Redis,
  stream: string,
  from: string,
  count: number,
): Promise<BackwardsStep> {
  const entries = (await redis.xrevrange(stream, from, "-", "COUNT", count)) as unknown as RawEntry[];
  const last = entries.at(-1);
  return { entries, next: entries.length < count || last === undefined ? undefined : olderThan(last[0]) };
}
