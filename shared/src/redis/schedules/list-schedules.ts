// collect/list-scheduled -> here -> schedules/list-schedules.lua: which of a recipient's messages wait for their time.
// Guarantees: in order of time; across pages, no message that stays is missed or repeated.
import { decodeScheduledRecord, idOfSchedule } from "../../protocol/messages/scheduled-message.js";
import { decodeMessageRecord } from "../../protocol/messages/stored-message.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/** The message after which a page begins. */
export interface SchedulePlace {
  readonly deliverAtMs: number;
  /** Its member of the recipient's schedules. */
  readonly member: string;
}

export interface ScheduledMessage {
  readonly id: string;
  readonly deliverAtMs: number;
  readonly expiresAtMs: number;
  /** As it was stored, see scheduled-record. */
  readonly payload: string;
}

export interface SchedulePage {
  readonly items: readonly ScheduledMessage[];
  /** Where the next page begins; undefined after the last one. */
  readonly next: SchedulePlace | undefined;
}

/** Records per read, which may be 72 KiB each. */
const READ_AT_ONCE = 50;

/** @param maxBytes the page ends with the message that exceeds this */
export async function listSchedules(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  recipient: string,
  {
    after,
    limit,
    maxBytes,
  }: { readonly after: SchedulePlace | undefined; readonly limit: number; readonly maxBytes: number },
): Promise<SchedulePage> {
  const items: ScheduledMessage[] = [];
  let place = after;
  let bytes = 0;
  for (;;) {
    // One more than needed, to tell whether there is a next page.
    const wanted = Math.min(limit - items.length + 1, READ_AT_ONCE);
    const found = await scripts.runForList(
      "list-schedules.v1",
      [keys.schedulesOf(recipient)],
      [place?.deliverAtMs ?? "", place?.member ?? "", wanted],
    );
    const places: SchedulePlace[] = [];
    for (let i = 0; i + 1 < found.length; i += 2)
      places.push({ member: found[i] ?? "", deliverAtMs: Number(found[i + 1]) });
    if (places.length === 0) return { items, next: undefined };
    const records = await scripts.redis.mget(
      ...places.map(({ member }) => keys.record(idOfSchedule(member))),
    );
    for (const [i, one] of places.entries()) {
      if (bytes >= maxBytes || items.length === limit) return { items, next: place };
      place = one;
      const record = records[i] ?? "";
      const waiting = decodeScheduledRecord(record);
      // Promoted or cancelled meanwhile.
      if (waiting === undefined) continue;
      items.push({
        id: idOfSchedule(one.member),
        deliverAtMs: waiting.deliverAtMs,
        expiresAtMs: decodeMessageRecord(record).expiresAtMs,
        payload: waiting.payload,
      });
      bytes += waiting.payload.length;
    }
    if (places.length < wanted) return { items, next: undefined };
  }
}
