// user-routes -> here -> shared/redis/schedules: one page of a user's scheduled messages.
// Guarantees: by time; across pages, no message that stays is missed or repeated; `data` is copied as the stored JSON
// text.
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { dataOfSchedule } from "@petrel/shared/protocol/messages/scheduled-message";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import {
  listSchedules,
  type ScheduledMessage,
  type SchedulePlace,
} from "@petrel/shared/redis/schedules/list-schedules";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";

/** A page ends with the message that exceeds this. */
const MAX_PAGE_BYTES = 1024 * 1024;

/** For the documentation only: the answer is sent as text. */
export const scheduledMessagesSchema = Type.Object(
  {
    items: Type.Array(
      Type.Object({ id: Type.String(), deliverAt: timeSchema, expiresAt: timeSchema, data: Type.Unknown() }),
      { description: "By time." },
    ),
    nextCursor: Type.Union([Type.String(), Type.Null()]),
  },
  { title: "ScheduledMessages" },
);

/** @returns the answer's body, see scheduledMessagesSchema */
export async function listScheduled(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
  { cursor, limit }: { readonly cursor: string | undefined; readonly limit: number },
): Promise<string> {
  const { items, next } = await listSchedules(scripts, keys, userId, {
    after: cursor === undefined ? undefined : parseCursor(cursor),
    limit,
    maxBytes: MAX_PAGE_BYTES,
  });
  const nextCursor = next === undefined ? "null" : `"${next.deliverAtMs}-${next.member}"`;
  return `{"items":[${items.map(encodeItem).join(",")}],"nextCursor":${nextCursor}}`;
}

/** @param cursor fits SCHEDULE_CURSOR_PATTERN: the time, a dash, the place among equal times */
function parseCursor(cursor: string): SchedulePlace {
  const dash = cursor.indexOf("-");
  return { deliverAtMs: Number(cursor.slice(0, dash)), member: cursor.slice(dash + 1) };
}

/** Ids and times need no escaping. */
function encodeItem({ id, deliverAtMs, expiresAtMs, payload }: ScheduledMessage): string {
  const [deliverAt, expiresAt] = [formatTime(deliverAtMs), formatTime(expiresAtMs)];
  return `{"id":"${id}","deliverAt":"${deliverAt}","expiresAt":"${expiresAt}","data":${dataOfSchedule(payload)}}`;
}
