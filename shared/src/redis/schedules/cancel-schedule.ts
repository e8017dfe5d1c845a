// recall/cancel-message -> here -> schedules/cancel-schedule.lua: cancels a message that waits for its time.
// Guarantees: one step: either it is cancelled, or it had been promoted (or had ended) and nothing is changed.
import type { RunScript } from "../accept/confirmed-scripts.js";
import type { PartitionKeys } from "../keys.js";
import { eventKeys } from "../scripts/event-writing.js";

/**
 * @param recipient a user, or a topic as `recipientOfTopic` writes it: as the message's record has it
 * @returns gone: it is not waiting (any more); read its state again
 */
export async function cancelSchedule(
  scripts: RunScript,
  keys: PartitionKeys,
  recipient: string,
  id: string,
): Promise<"cancelled" | "gone"> {
  const answer = await scripts.run(
    "cancel-schedule.v2",
    [keys.record(id), keys.scheduled, keys.schedulesOf(recipient), ...eventKeys(keys)],
    [id, scripts.events.argument("message.cancelled")],
  );
  return answer === "cancelled" ? answer : "gone";
}
