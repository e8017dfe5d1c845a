// dispatch/{wake-users, reconcile-partitions, fall-back}, push-node/catch-up -> here -> inbox/keep-records.lua: records
// that outlive their open messages.
// Guarantees: a message open for longer than some minutes is found by its id until a day after its end; a lost record
// is made again; keys of another kind affect their own user only.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/**
 * How long a record is kept, from now or, where its message stays open longer, from the expiry: a day and a spare hour.
 */
export const DEFAULT_RECORD_KEEP_MS = 25 * 60 * 60 * 1000;

/** Younger messages of a user who is looked at again soon are left: most of them are acknowledged by then. */
export const YOUNG_MS = 10 * 60 * 1000;

export interface UserToKeep {
  readonly userId: string;
  /** Younger messages are left as they are; 0 where nobody looks at the user soon. */
  readonly minAgeMs: number;
}

const MAX_PER_CALL = 200;

/** Resolves when all of it is done, call after call. */
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
