// schedules/find-due-schedules.lua -> here -> dispatch/schedule/promote-due: which of the due messages go first.
// Guarantees: by priority, without starvation: a message of lower priority is overtaken only by what is due a little
// later. A recipient's messages keep their order.
import { priorityOfSchedule, recipientOfSchedule } from "../../protocol/messages/scheduled-message.js";
import type { Priority } from "../../protocol/messages/stored-message.js";

export interface DueSchedule {
  readonly member: string;
  readonly atMs: number;
}

/** How much later a message counts as due: that long it lets others pass, and no longer. */
export const PASSED_FOR_MS: Readonly<Record<Priority, number>> = { high: 0, normal: 15_000, low: 60_000 };

/**
 * Assigns turns by priority and age, then gives each recipient's turns to its earliest messages. So a high-priority
 * message brings along those that its recipient must get before it.
 * @param due in order of time
 */
export function chooseDue(due: readonly DueSchedule[], limit: number, nowMs: number): string[] {
  // All of them get a turn now.
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
