// fallback/dead-letters-store -> here -> schedules/replay-schedule.lua: reschedules a message that failed because its
// user's inbox was full, due at once.
// Guarantees: one step moves it out of the dead letters. Then it is promoted like any other, and may fail again.
import { priorityShiftUs } from "../../protocol/messages/scheduled-message.js";
import type { Priority } from "../../protocol/messages/stored-message.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface FailedSchedule {
  readonly entryId: string;
  /** The dead letter as it was read. */
  readonly text: string;
  readonly id: string;
  readonly userId: string;
  readonly priority: Priority;
}

/** @returns one of `replayOutcomes` */
export function replaySchedule(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { entryId, text, id, userId, priority }: FailedSchedule,
): Promise<string> {
  return scripts.run(
    "replay-schedule.v2",
    [keys.deadLetters("inbox-full"), keys.record(id), keys.scheduled, keys.schedulesOf(userId)],
    [entryId, text, id, priorityShiftUs(priority)],
  );
}
