// wake-users -> here -> inbox/find-expired, inbox/expire.lua: writes the ends of expired messages.
// Guarantees: checks all open messages of a user, page by page. What remains sets the time of the next look, including
// messages stored meanwhile. A call checks a bounded amount; users who are left out are due again soon.
import { expireMessages } from "@petrel/shared/redis/inbox/expire-messages";
import { findExpired, type LookPosition, type OverdueMessage } from "@petrel/shared/redis/inbox/find-expired";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

/** Users checked concurrently. */
const CONCURRENT_USERS = 8;
/** The most entries per call: about ten milliseconds of Redis's time. */
const MAX_ENTRIES = 4_000;
const MAX_BYTES = 4 * 1024 * 1024;
/** A user who constantly gets messages: stop after this many pages with new ones. */
const MAX_NEW_PAGES = 5;

export interface ExpiredUsers {
  /** Ends written. */
  readonly written: number;
  /** Users that the call did not get to. */
  readonly left: number;
}

/** @param userIds in the order in which to check them */
export async function expireUsers(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userIds: readonly string[],
): Promise<ExpiredUsers> {
  let [written, entries, bytes, start] = [0, 0, 0, 0];
  for (; start < userIds.length && entries < MAX_ENTRIES && bytes < MAX_BYTES; start += CONCURRENT_USERS) {
    const together = userIds.slice(start, start + CONCURRENT_USERS);
    const looks = await Promise.all(together.map((userId) => expireUser(scripts, keys, userId)));
    for (const look of looks) {
      written += look.written;
      entries += look.entries;
      bytes += look.bytes;
    }
  }
  return { written, left: Math.max(0, userIds.length - start) };
}

interface Look {
  readonly written: number;
  readonly entries: number;
  readonly bytes: number;
}

async function expireUser(scripts: ScriptRunner, keys: PartitionKeys, userId: string): Promise<Look> {
  const overdue: OverdueMessage[] = [];
  let position: LookPosition | undefined;
  let nextMs = Number.POSITIVE_INFINITY;
  let [written, beganAtMs, pages, newPages] = [0, 0, 0, 0];
  let isWritten = false;
  for (;;) {
    const page = await findExpired(scripts, keys, userId, position, isWritten ? beganAtMs : undefined);
    if (page === undefined) break;
    const { seq, epoch, nowMs } = page;
    const readSeq = position?.after;
    ({ position } = page);
    if (beganAtMs === 0) beganAtMs = nowMs;
    // Nothing arrived while the ends were written, so the look is complete.
    if (isWritten && seq === readSeq) break;
    pages++;
    overdue.push(...page.overdue);
    nextMs = Math.min(nextMs, page.nextMs ?? nextMs);
    if (position.after < seq) continue;
    const next = Number.isFinite(nextMs) ? { atMs: nextMs, readSeq: seq, epoch } : undefined;
    written += await expireMessages(scripts, keys, userId, overdue.splice(0), next);
    isWritten = true;
    // Messages that arrived meanwhile have made the time of the next look void. After a long look it is worth reading
    // those too.
    if (pages === 1 || newPages++ === MAX_NEW_PAGES) break;
  }
  return { written, entries: position?.entries ?? 0, bytes: position?.bytes ?? 0 };
}
