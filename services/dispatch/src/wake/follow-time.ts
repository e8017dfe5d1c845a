// wake-users -> here -> partitions/keep-time: the clock of a partition's master, which may be set back.
// Guarantees: a step back is noticed at the next look for due users. Times that now lie too far ahead are corrected
// before that clock decides anything else, so that no fallback, retry or end of a grace lease waits for the clock to
// catch up.
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { keepTime, setBack, type PartitionTime } from "@petrel/shared/redis/partitions/keep-time";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { HeldPartition } from "../own/held-partition.js";

export interface FollowTimeDeps {
  readonly scripts: ScriptRunner;
  readonly logger: Logger;
  readonly ackTimeoutMs: number;
}

/** Only an expiry and the acknowledgement timeout set a user's time further ahead. */
const ARMED_AT_MOST_MS = 60_000;

/**
 * @param time as it was just read
 * @returns the master's clock, ms; "stale" if this dispatcher no longer owns the partition
 */
export async function followTime(
  { scripts, logger, ackTimeoutMs }: FollowTimeDeps,
  held: HeldPartition,
  time: PartitionTime,
): Promise<number | "stale"> {
  const { keys, token } = held;
  if (time.backMs === 0) return time.nowMs;
  const { partition } = keys;
  logger.warn(
    { partition, backMs: time.backMs },
    "Redis' clock was set back: moving times that are too far ahead",
  );
  const armedForMs = ackTimeoutMs + ARMED_AT_MOST_MS;
  const isDone = await setBack(scripts, keys, token, { ...time, armedForMs, isHeld: () => held.isHeld });
  if (!isDone) return "stale";
  const after = await keepTime(scripts, keys, token, true);
  return after === "stale" ? after : after.nowMs;
}
