// Every route that answers times -> here: the format of a time in an answer: RFC 3339, UTC, milliseconds.
import { Type } from "../schemas/json-schema.js";

export const timeSchema = Type.String({ format: "date-time" });

export function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}
