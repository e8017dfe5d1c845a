// collect -> redis/schedules -> dispatch, collect: a message that waits for its time, as Redis stores it.
// Guarantees: the scripts and this reader agree, see redis/scripts/includes/messages/scheduled-record.lua.
import type { Priority } from "./stored-message.js";

/** Stands for the sequence number of a message without one: it still waits, or ended before it got a number. */
export const NO_SEQ = 0;

/** The length of the text that orders messages due at the same time: when each was scheduled. */
const ORDER_LENGTH = 15;
/** The leading part: the time in µs, shifted by the priority. */
const TIME_LENGTH = 13;
const SHIFT_US = 2 ** 50;
const shiftsUs: Readonly<Record<Priority, number>> = { high: -SHIFT_US, normal: 0, low: SHIFT_US };

/** Orders messages that are due at the same time by priority: a high one counts as if scheduled 35 years earlier. */
export function priorityShiftUs(priority: Priority): number {
  return shiftsUs[priority];
}

/** @param member of the recipient's or the partition's schedules: order id [TAB recipient] */
export function idOfSchedule(member: string): string {
  const tab = member.indexOf("\t");
  return member.slice(ORDER_LENGTH, tab === -1 ? undefined : tab);
}

/** @param member of the partition's schedules: order id TAB recipient */
export function recipientOfSchedule(member: string): string {
  return member.slice(member.indexOf("\t") + 1);
}

/**
 * @param member of the recipient's or the partition's schedules
 * @param nowMs within some years of when it was scheduled
 */
export function priorityOfSchedule(member: string, nowMs: number): Priority {
  const aheadUs = Number.parseInt(member.slice(0, TIME_LENGTH), 16) - nowMs * 1_000;
  if (Math.abs(aheadUs) < SHIFT_US / 2) return "normal";
  return aheadUs < 0 ? "high" : "low";
}

/** What the record of a waiting message holds after its state. */
export interface ScheduledRecord {
  readonly deliverAtMs: number;
  /** As a schedule stores it; for a user's message: policy [":" collapse key] TAB notification TAB data [TAB trace]. */
  readonly payload: string;
}

/**
 * @param value 0 TAB @ TAB acceptedAt TAB expiresAt TAB recipient TAB fingerprint TAB attempt TAB "scheduled" SPACE
 * deliverAt SPACE order TAB payload
 * @returns undefined if it is not waiting
 */
export function decodeScheduledRecord(value: string): ScheduledRecord | undefined {
  const found = /^0\t@\t\d+\t\d+\t[^\t]*\t[^\t]*\t[^\t]*\tscheduled (\d+) [0-9a-f]+\t/.exec(value);
  if (found === null) return undefined;
  return { deliverAtMs: Number(found[1]), payload: value.slice(found[0].length) };
}

/** @param payload of a user's message; @returns its `data`, JSON text */
export function dataOfSchedule(payload: string): string {
  return payload.split("\t", 3)[2] ?? "";
}
