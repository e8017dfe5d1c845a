// schedules/find-due-schedules.lua -> here -> dispatch/schedule/promote-due: which of the messages that are due go first.
// Guarantees: by priority, and none starves: one of lower priority is overtaken only by what is due a little later. A
// recipient's messages keep their order.
import { priorityOfSchedule, recipientOfSchedule } from "../../protocol/messages/scheduled-message.js";
import type { Priority } from "../../protocol/messages/stored-message.js";

export interface DueSchedule {
  readonly member: string;
  readonly atMs: number;
}

/** A message's turn is as if it were due so much later: that long it lets others pass, and no longer. */
export const PASSED_FOR_MS: Readonly<Record<Priority, number>> = { high: 0, normal: 15_000, low: 60_000 };

/**
 * Hands out turns by priority and age, then gives each of a recipient's turns to its earliest message. So a message of
 * high priority takes those along that its recipient must get before.
 * @param due in order of time
 */
export function chooseDue(due: readonly DueSchedule[], limit: number, nowMs: number): string[] {
  // All of them have a turn now.
  if (due.length <= limit) return due.map(({ member }) => member);
  const waiting = new Map<string, string[]>();
  const turns = due.map(({ member, atMs }) => {
    const recipient = recipientOfSchedule(member);
    const members = waiting.get(recipient);
    if (members === undefined) waiting.set(recipient, [member]);
    else members.push(member);
    return { recipient, turnMs: atMs + PASSED_FOR_MS[priorityOfSchedule(member, nowMs)] };
  });
  const taken = new Map<string, number>();
  return turns
    .sort((a, b) => a.turnMs - b.turnMs)
    .slice(0, limit)
    .map(({ recipient }) => {
      const nth = taken.get(recipient) ?? 0;
      taken.set(recipient, nth + 1);
      return waiting.get(recipient)?.[nth] ?? "";
    });
}
