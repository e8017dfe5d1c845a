// dispatch/follow-time -> here -> partitions/{keep-time, set-back}.lua: a partition's clock, and what to do if it was
// set back.
// Guarantees: only the owner does it. If a call or its owner dies on the way, it is done again: some things then happen
// early, and nothing late.
import { fallbackChannels } from "../../protocol/fallback/fallback-channels.js";
import { priorities } from "../../protocol/messages/stored-message.js";
import { FALLBACK_GROUP } from "../fallback/fallback-queue.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface PartitionTime {
  /** The master's clock. */
  readonly nowMs: number;
  /** How far it was set back since the last look; 0 if not at all. */
  readonly backMs: number;
}

/** @returns "stale" if the token is no longer the owner's (nothing was changed) */
export async function keepTime(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  isSetBack = false,
): Promise<PartitionTime | "stale"> {
  const answer = await scripts.run(
    "keep-time.v2",
    [keys.owner, keys.generation],
    [token, isSetBack ? "1" : ""],
  );
  if (answer === "stale") return answer;
  const [nowMs = 0, backMs = 0] = answer.split("\t").map(Number);
  return { nowMs, backMs };
}

export interface SetBackOptions extends PartitionTime {
  /** How far ahead of the former clock a user's next look may be, other than for an expiry. */
  readonly armedForMs: number;
  /** Whether the caller still owns the partition; checked before each call. */
  readonly isHeld: () => boolean;
}

const USERS_IN_A_CALL = 200;
const RETRIES_IN_A_CALL = 500;

/** @returns false if the caller no longer owns the partition; then the work is not done */
export async function setBack(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  { nowMs, backMs, armedForMs, isHeld }: SetBackOptions,
): Promise<boolean> {
  const call = (users: readonly string[], retriesFrom: string, channel?: string): Promise<string> =>
    scripts.run(
      "set-back.v1",
      [
        keys.owner,
        keys.generation,
        keys.due,
        keys.retriesOf(channel),
        ...priorities.map((priority) => keys.fallback(priority, channel)),
        ...users.flatMap((userId) => [keys.user(userId), keys.routes(userId)]),
      ],
      [token, backMs, FALLBACK_GROUP, retriesFrom, RETRIES_IN_A_CALL, ...users],
    );

  for (const channel of [undefined, ...fallbackChannels]) {
    for (let retriesFrom = String(nowMs); retriesFrom !== "";) {
      if (!isHeld()) return false;
      retriesFrom = await call([], retriesFrom, channel);
      if (retriesFrom === "stale") return false;
    }
  }
  const untilMs = nowMs + backMs + armedForMs;
  for (let from = nowMs + 1; ;) {
    if (!isHeld()) return false;
    // In ascending order, and each moves down, so a moved user is not met again.
    const found = await scripts.redis.zrangebyscore(
      keys.due,
      from,
      untilMs,
      "WITHSCORES",
      "LIMIT",
      0,
      USERS_IN_A_CALL,
    );
    const users = found.filter((_, i) => i % 2 === 0);
    if (users.length === 0) return true;
    if ((await call(users, "")) === "stale") return false;
    if (users.length < USERS_IN_A_CALL) return true;
    from = Number(found.at(-1));
  }
}
