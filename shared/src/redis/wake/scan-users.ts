// dispatch/walk-users -> here: users who have a key of a kind, come upon step by step.
// Guarantees: each that is there during a whole round is come upon at least once; nothing is changed here.
import type { Redis } from "../connection/connect.js";

/** Keys that one user has one of. */
export type UserKeyKind = "user" | "devices";

/** A step through all keys of one server. */
export interface UserScan {
  /** Partition -> ids of users that were come upon. */
  readonly found: ReadonlyMap<number, string[]>;
  /** Where to go on; "0" at the end. */
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
