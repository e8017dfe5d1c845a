// dispatch/watch-online -> here -> events/look-online.lua: users who were online, and may no longer be.
// Guarantees: fenced; one step finds that nobody holds a connection of the user, and writes the event.
import type { Redis } from "../connection/connect.js";
import { readServerTimeMs } from "../connection/server-time.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import type { AbsenceRules } from "../wake/wake-users.js";

export interface DueOnline {
  readonly userIds: readonly string[];
  /** How long until the first of the others is due; undefined if there is none. */
  readonly nextInMs: number | undefined;
}

/** @param limit at most 200, what one call of `lookOnline` takes */
export async function findDueOnline(redis: Redis, keys: PartitionKeys, limit: number): Promise<DueOnline> {
  const [nowMs, first] = await Promise.all([
    readServerTimeMs(redis, keys.online),
    redis.zrange(keys.online, "0", String(limit), "WITHSCORES"),
  ]);
  const userIds: string[] = [];
  for (let i = 0; i < first.length; i += 2) {
    const inMs = Number(first[i + 1]) - nowMs;
    if (inMs > 0 || userIds.length === limit) return { userIds, nextInMs: Math.max(0, inMs) };
    userIds.push(first[i] ?? "");
  }
  return { userIds, nextInMs: undefined };
}

/** @returns how many of these users are now offline; stale: the token is not the owner's (nothing was changed) */
export async function lookOnline(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  { absenceInMs, settleMs }: Pick<AbsenceRules, "absenceInMs" | "settleMs">,
  userIds: readonly string[],
): Promise<number | "stale"> {
  const answer = await scripts.run(
    "look-online.v1",
    [
      keys.owner,
      keys.generation,
      keys.online,
      keys.events,
      keys.eventLog,
      ...userIds.flatMap((userId) => [keys.routes(userId), keys.user(userId)]),
    ],
    [token, absenceInMs, settleMs, scripts.events.argument("user.online", "user.offline"), ...userIds],
  );
  return answer === "stale" ? answer : Number(answer);
}
