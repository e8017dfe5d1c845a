// Bench: a message that a reader recognises inside any frame, without reading the JSON around it.
// Guarantees: the mark has one length, and survives every server that hands JSON on as it came.

const OPENING = '{"n":"';
const NUMBER_DIGITS = 9;
const BETWEEN = '","t":"';
const TIME_DIGITS = 15;
const REST = '","text":"the storm petrel flies through storms","price":12.5,"tags":["a","b"]}';

const opening = Buffer.from(OPENING);
const TIME_AT = OPENING.length + NUMBER_DIGITS + BETWEEN.length;
/** From the opening to the end of the time. */
export const MARK_LENGTH = TIME_AT + TIME_DIGITS;

/** JSON text. */
export function markedMessage(n: number, sentAtUs: number): string {
  const time = Math.round(sentAtUs).toString().padStart(TIME_DIGITS, "0");
  return OPENING + n.toString().padStart(NUMBER_DIGITS, "0") + BETWEEN + time + REST;
}

/** Where the next mark begins, or -1. */
export function findMark(buffer: Buffer, start: number, end: number): number {
  const at = buffer.indexOf(opening, start);
  return at === -1 || at + MARK_LENGTH > end ? -1 : at;
}

export function numberOf(buffer: Buffer, mark: number): number {
  return digits(buffer, mark + OPENING.length, NUMBER_DIGITS);
}

export function sentAtUsOf(buffer: Buffer, mark: number): number {
  return digits(buffer, mark + TIME_AT, TIME_DIGITS);
}

/** The number that follows `key` between `start` and `end`; -1 where there is none. */
export function numberAfter(buffer: Buffer, key: Buffer, start: number, end: number): number {
  const at = buffer.indexOf(key, start);
  if (at === -1 || at >= end) return -1;
  let value = 0;
  for (let i = at + key.length; i < end; i++) {
    const digit = (buffer[i] ?? 0) - 48;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return value;
}

function digits(buffer: Buffer, at: number, count: number): number {
  let value = 0;
  for (let i = at; i < at + count; i++) value = value * 10 + (buffer[i] ?? 48) - 48;
  return value;
}
