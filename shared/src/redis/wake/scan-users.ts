// dispatch/walk-users -> here: finds the users who have a key of one kind, step by step.
// Guarantees: finds every user who exists throughout a round at least once; changes nothing.
import type { Redis } from "../connection/connect.js";

/** The kinds of keys that a user has one of. */
export type UserKeyKind = "user" | "devices";

/** A step through all keys of one server. */
export interface UserScan {
  /** Partition -> ids of the users found. */
  readonly found: ReadonlyMap<number, string[]>;
  /** Where to continue; "0" at the end. */
  readonly cursor: string;
}

/**
 * https://redis.io/docs/latest/commands/scan/
 * @param cursor "0" to begin
 * @param count keys to look at
 */
export async function scanUsers(
  redis: Redis,
  kind: UserKeyKind,
  cursor: string,
  count: number,
): Promise<UserScan> {
  const [next, names] = await redis.scan(cursor, "MATCH", `petrel:{p*}:${kind}:*`, "COUNT", count);
  const found = new Map<number, string[]>();
  for (const name of names) {
    const [, partitionText, userId] = /^petrel:\{p(\d+)\}:[a-z]+:(.+)$/.exec(name) ?? [];
    if (partitionText === undefined || userId === undefined) continue;
    const partition = Number(partitionText);
    const users = found.get(partition);
    if (users === undefined) found.set(partition, [userId]);
    else users.push(userId);
  }
  return { found, cursor: next };
}
