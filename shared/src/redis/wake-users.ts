// dispatch/wake-users -> here -> scripts/wake: users who have something open for longer than they should.
// Guarantees: every user with an un-ended message is in `due`; one leaves it only when nothing is open any more.
import type { Redis } from "./connect.js";
import type { PartitionKeys } from "./keys.js";
import type { ScriptRunner } from "./script-runner.js";

export const wakeOutcomes = ["done", "later", "offline", "nudged", "unheard"] as const;

/** See scripts/wake for what each means. */
export type WakeOutcome = (typeof wakeOutcomes)[number];

export interface WokenUser {
  readonly userId: string;
  readonly outcome: WakeOutcome;
  /** A message's time is over: the caller writes its end. */
  readonly expire: boolean;
}

/**
 * @param nowMs Redis' clock
 * @param limit at most 200, what one call of `wakeUsers` takes
 */
export async function readDueUsers(
  redis: Redis,
  keys: PartitionKeys,
  nowMs: number,
  limit: number,
): Promise<string[]> {
  return redis.zrangebyscore(keys.due, "-inf", nowMs, "LIMIT", 0, limit);
}

/**
 * @param userIds at most 200
 * @returns one for each user, in order, or "stale" where the token is not the owner's any more (nothing was changed)
 */
export async function wakeUsers(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  ackTimeoutMs: number,
  userIds: readonly string[],
): Promise<WokenUser[] | "stale"> {
  const answer = await scripts.run(
    "wake.v1",
    [keys.owner, keys.due, ...userIds.flatMap((userId) => [keys.user(userId), keys.routes(userId)])],
    [token, ackTimeoutMs, keys.channel, ...userIds],
  );
  if (answer === "stale") return answer;
  const lines = answer.split("\n");
  return userIds.map((userId, i) => {
    const [word, expire] = (lines[i] ?? "").split("\t");
    const outcome = wakeOutcomes.find((known) => known === word);
    if (outcome === undefined) throw new Error(`wake answered ${JSON.stringify(lines[i])}`);
    return { userId, outcome, expire: expire === "expire" };
  });
}
