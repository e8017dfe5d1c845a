// dispatch/partition-gauges -> here: what waits in a partition, and for how long.
// Guarantees: reads only, a bounded number of short answers, however many users there are. Ages come from the users who
// are due next and from a random sample; the share of late users comes from the sample alone.
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import { readServerTimeMs } from "../connection/server-time.js";

export interface PartitionBacklog {
  /** Messages that are not handed over yet. */
  readonly ready: number;
  /** Age of the oldest of them, ms; 0 if there is none. */
  readonly readyOldestMs: number;
  /** Users with unacknowledged messages. */
  readonly dueUsers: number;
  /** How long the most overdue user has waited for a look, ms; 0 if there is none. */
  readonly wakeLagMs: number;
  /** Messages that wait for their scheduled time. */
  readonly scheduled: number;
  /** How overdue the most overdue one of them is, ms; 0 if none is. */
  readonly scheduleLagMs: number;
  /** Age of the oldest message found that is neither acknowledged nor offered to the fallback, ms. */
  readonly undeliveredOldestMs: number;
  /** Users in the random sample of `dueUsers`; all of them if they are few. */
  readonly sampledUsers: number;
  /** How many of these have such a message older than `lateAfterMs`. */
  readonly lateUsers: number;
}

/** How many users are read of those who have waited longest for their wake. */
const NEXT = 8;
/** How many users are sampled at random, so that their share represents everybody's. */
const SAMPLE = 32;

/** @param lateAfterMs age at which an undelivered message makes its user late */
export async function readPartitionBacklog(
  redis: Redis,
  keys: PartitionKeys,
  lateAfterMs: number,
): Promise<PartitionBacklog> {
  const [nowMs, ready, [oldestReady], dueUsers, next, sampled, scheduled, nextSchedule] = await Promise.all([
    readServerTimeMs(redis, keys.due),
    redis.xlen(keys.ready),
    redis.xrange(keys.ready, "-", "+", "COUNT", 1),
    redis.zcard(keys.due),
    redis.zrange(keys.due, "0", String(NEXT - 1), "WITHSCORES"),
    redis.zrandmember(keys.due, SAMPLE),
    redis.zcard(keys.scheduled),
    redis.zrange(keys.scheduled, "0", "0", "WITHSCORES"),
  ]);
  const userIds = [...new Set([...next.filter((_, i) => i % 2 === 0), ...sampled])];
  const acceptedAtMs = new Map(
    await Promise.all(
      userIds.map(async (userId) => [userId, await readOldestOpen(redis, keys, userId)] as const),
    ),
  );
  const age = (sinceMs: number): number => Math.max(0, nowMs - sinceMs);
  const openAges = (users: readonly string[]): number[] =>
    users.flatMap((userId) => {
      const atMs = acceptedAtMs.get(userId);
      return atMs === undefined ? [] : [age(atMs)];
    });
  return {
    ready,
    // An entry's id is the time at which it was written.
    readyOldestMs: oldestReady === undefined ? 0 : age(Number.parseInt(oldestReady[0], 10)),
    dueUsers,
    wakeLagMs: age(Number(next[1] ?? nowMs)),
    scheduled,
    scheduleLagMs: age(Number(nextSchedule[1] ?? nowMs)),
    undeliveredOldestMs: Math.max(0, ...openAges(userIds)),
    sampledUsers: sampled.length,
    lateUsers: openAges(sampled).filter((ms) => ms > lateAfterMs).length,
  };
}

/** @returns when the message was accepted, ms; undefined if there is none, or the user's keys are broken */
async function readOldestOpen(
  redis: Redis,
  keys: PartitionKeys,
  userId: string,
): Promise<number | undefined> {
  try {
    const cursors = await redis.hmget(keys.user(userId), "seq", "acked", "offered");
    const [seq = 0, acked = 0, offered = 0] = cursors.map(Number);
    const from = Math.max(acked, offered);
    if (from >= seq) return undefined;
    const [first] = await redis.xrange(keys.inbox(userId), `${from + 1}-0`, "+", "COUNT", 1);
    // epoch TAB at TAB …, see protocol/stored-message.ts
    const atMs = Number(first?.[1][1]?.split("\t", 2)[1]);
    return Number.isFinite(atMs) ? atMs : undefined;
  } catch (error) {
    if (error instanceof Error && error.name === "ReplyError") return undefined;
    throw error;
  }
}
