// describe-push, describe-way -> here: durations in words.

const units: readonly (readonly [name: string, ms: number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
];

/** @param ms a negative one counts as 0 */
export function describeMs(ms: number): string {
  const rest = Math.max(0, Math.round(ms));
  if (rest < 1_000) return `${rest} ms`;
  for (const [name, size] of units) if (rest >= 2 * size) return `${Math.floor(rest / size)} ${name}`;
  return `${(rest / 1_000).toFixed(1).replace(/\.0$/, "")} s`;
}

/** From one time to another, both RFC 3339. */
export function describeSpan(from: string, to: string): string {
  return describeMs(msBetween(from, to));
}

export function msBetween(from: string, to: string): number {
  return Date.parse(to) - Date.parse(from);
}
