// dispatch/wake-users -> here -> scripts/expire: writes the ends of what has waited beyond its time.
// Guarantees: all that is open is looked at, page by page; the time of the next look is taken from what remains, and
// counts only where nothing was stored meanwhile.
import { expireMessages, type ExpiredMessage } from "@petrel/shared/redis/expire-messages";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readOpenRange } from "@petrel/shared/redis/open-range";
import { readInbox } from "@petrel/shared/redis/read-inbox";
import type { ScriptRunner } from "@petrel/shared/redis/script-runner";

const PAGE = { maxEntries: 200, maxBytes: 256 * 1024 } as const;
/** Users looked at together. */
const CONCURRENT_USERS = 16;

/**
 * @param nowMs Redis' clock
 * @returns how many ends were written
 */
export async function expireUsers(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userIds: readonly string[],
  nowMs: number,
): Promise<number> {
  let written = 0;
  for (let start = 0; start < userIds.length; start += CONCURRENT_USERS) {
    const together = userIds.slice(start, start + CONCURRENT_USERS);
    const counts = await Promise.all(together.map((userId) => expireUser(scripts, keys, userId, nowMs)));
    for (const count of counts) written += count;
  }
  return written;
}

async function expireUser(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
  nowMs: number,
): Promise<number> {
  // Before the inbox: what is stored while we read is then known to be missing from what we read.
  const range = await readOpenRange(scripts.redis, keys, userId);
  if (range === undefined) return 0;
  const ended: ExpiredMessage[] = [];
  let nextMs = Number.POSITIVE_INFINITY;
  for (let after = range.acked; after < range.seq;) {
    const { messages } = await readInbox(scripts, keys, userId, after, PAGE);
    for (const { seq, epoch, id, expiresAtMs } of messages) {
      if (expiresAtMs <= nowMs) ended.push({ seq, epoch, id });
      else nextMs = Math.min(nextMs, expiresAtMs);
    }
    after = messages.at(-1)?.seq ?? range.seq;
  }
  const { seq: readSeq, epoch } = range;
  const next = Number.isFinite(nextMs) ? { atMs: nextMs, readSeq, epoch } : undefined;
  return expireMessages(scripts, keys, userId, ended, next);
}
