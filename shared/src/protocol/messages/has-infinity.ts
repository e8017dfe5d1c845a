// collect, push-node -> here: whether what was parsed holds a number that JSON cannot say again.

/** JSON.parse turns a number that is too large into Infinity, which JSON.stringify would turn into null. */
export function hasInfinity(value: unknown): boolean {
  if (typeof value === "number") return !Number.isFinite(value);
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some(hasInfinity);
}
