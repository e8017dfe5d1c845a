// collect, push-node -> here: whether a parsed value holds a number that JSON cannot express.

/** JSON.parse turns a number that is too large into Infinity; JSON.stringify would turn that into null. */
export function hasInfinity(value: unknown): boolean {
  if (typeof value === "number") return !Number.isFinite(value);
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some(hasInfinity);
}
