// fallback/dead-letters-store -> here -> schedules/replay-schedule.lua: a message that failed because its user's inbox was
// full waits again, and is due at once.
// Guarantees: one step moves it out of the dead letters; then it is promoted like any other, and may fail again.
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface FailedSchedule {
  readonly entryId: string;
  /** The dead letter as it was read. */
  readonly text: string;
  readonly id: string;
  readonly userId: string;
}

/** @returns a word of `replayOutcomes` */
export function replaySchedule(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { entryId, text, id, userId }: FailedSchedule,
): Promise<string> {
  return scripts.run(
    "replay-schedule.v1",
    [keys.deadLetters("inbox-full"), keys.record(id), keys.scheduled, keys.schedulesOf(userId)],
    [entryId, text, id],
  );
}
