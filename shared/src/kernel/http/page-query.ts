// Every route that lists in pages -> here: the query parameters of a page.
// Guarantees: one cursor format per kind of order, and Redis accepts every cursor that matches. Nothing is coerced: a
// limit is checked as text.
import { Type } from "../schemas/json-schema.js";

export const DEFAULT_LIMIT = "50";

/**
 * `ms-n`: the id of a stream entry. Never `0-0`: Redis refuses to read backwards from there. Timestamps have at most 15
 * digits until the year 33658.
 */
export const STREAM_POSITION_PATTERN = "[1-9]\\d{0,14}-\\d{1,10}";

export const limitSchema = Type.String({
  pattern: "^([1-9][0-9]{0,2}|1000)$",
  default: DEFAULT_LIMIT,
  description: "1 to 1000.",
});

/** @param pattern what this list's `nextCursor` looks like */
function cursorSchema(pattern: string) {
  return Type.String({ pattern, description: "The `nextCursor` of the previous page." });
}

/** The query of a paged list, besides its own filters. */
export function pageFields(cursorPattern: string) {
  return { cursor: Type.Optional(cursorSchema(cursorPattern)), limit: Type.Optional(limitSchema) };
}
