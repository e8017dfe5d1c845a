// redis/streams, redis/fallback -> here: the entry of a stream, as Redis answers it.

export type RawEntry = readonly [id: string, fields: readonly string[]];

/** @returns the field's value; empty if the entry has no such field */
export function fieldOf(fields: readonly string[], name: string): string {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1] ?? "";
  return "";
}
