// Every route that answers times -> here: how a time stands in an answer: RFC 3339, in UTC, with milliseconds.
import { Type } from "../schemas/json-schema.js";

export const timeSchema = Type.String({ format: "date-time" });

export function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}
