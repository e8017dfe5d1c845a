// Every route that answers a list in pages -> here: what its query may say of the page.
// Guarantees: one form of cursor for each kind of order; no cursor of that form is one that Redis refuses; nothing in a
// request is coerced, so that a limit is checked as the text it is.
import { Type } from "typebox";

export const DEFAULT_LIMIT = "50";

/**
 * `ms-n`: where a stream's entry stands. Never `0-0`, before which there is nothing: Redis refuses to read from there on.
 * Its times have at most 15 digits until the year 33658.
 */
export const STREAM_POSITION_PATTERN = "[1-9]\\d{0,14}-\\d{1,10}";

export const limitSchema = Type.String({
  pattern: "^([1-9][0-9]{0,2}|1000)$",
  default: DEFAULT_LIMIT,
  description: "1 to 1000.",
});

/** @param pattern of what a page of this list gives as `nextCursor` */
function cursorSchema(pattern: string) {
  return Type.String({ pattern, description: "The `nextCursor` of the page before." });
}

/** What the query of a list in pages has, beside its own filters. */
export function pageFields(cursorPattern: string) {
  return { cursor: Type.Optional(cursorSchema(cursorPattern)), limit: Type.Optional(limitSchema) };
}
