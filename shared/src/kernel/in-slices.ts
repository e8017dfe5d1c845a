// services/*, redis/* -> here: splits a list into pieces that one call can take.
// Guarantees: in order, no slice empty; a list that fits into one slice is not copied.

/** @returns slices of at most `size` items */
export function inSlices<T>(items: readonly T[], size: number): (readonly T[])[] {
  if (items.length === 0) return [];
  if (items.length <= size) return [items];
  const slices: (readonly T[])[] = [];
  for (let start = 0; start < items.length; start += size) slices.push(items.slice(start, start + size));
  return slices;
}
