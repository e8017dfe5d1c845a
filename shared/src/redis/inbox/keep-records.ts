// dispatch/{wake-users, reconcile-partitions, fall-back}, push-node/catch-up -> here -> inbox/keep-records.lua:
// prolongs the records of open messages.
// Guarantees: a message that is open for longer than some minutes can be found by its id until a day after its end. A
// lost record is restored. Keys of the wrong type affect only their own user.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/**
 * How long a record is kept, from now, or from the expiry of a message that stays open longer: a day and a spare hour.
 */
export const DEFAULT_RECORD_KEEP_MS = 25 * 60 * 60 * 1000;

/** Skips younger messages of a user who is looked at again soon, because most of them are acknowledged by then. */
export const YOUNG_MS = 10 * 60 * 1000;

export interface UserToKeep {
  readonly userId: string;
  /** Skips messages younger than this; 0 if nobody looks at the user soon. */
  readonly minAgeMs: number;
}

const MAX_PER_CALL = 200;

/** Resolves when everything is done, call after call. */
export async function keepRecords(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  users: readonly UserToKeep[],
  recordKeepMs = DEFAULT_RECORD_KEEP_MS,
): Promise<void> {
  let left = [...users];
  while (left.length > 0) {
    const some = left.slice(0, MAX_PER_CALL);
    const answer = await scripts.run(
      "keep-records.v1",
      some.flatMap(({ userId }) => [keys.user(userId), keys.inbox(userId)]),
      [recordKeepMs, ...some.flatMap(({ userId, minAgeMs }) => [userId, minAgeMs])],
    );
    const lines = answer.split("\n");
    left = [...some.filter((_, i) => lines[i] === "more"), ...left.slice(MAX_PER_CALL)];
  }
}
