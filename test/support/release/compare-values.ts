// Tests only: the differences between two JSON values, and whether someone who relied on the first would notice.
// Guarantees: a pure function; "added" breaks nobody, "removed" and "changed" may.

export interface Difference {
  /** Such as "POST /v1/tokens.status". */
  readonly path: string;
  readonly kind: "added" | "removed" | "changed";
  readonly detail: string;
}

/**
 * Lists of single values and of named objects (parameters) are compared as sets, other lists position by position. A
 * newly `required` member counts as changed: a request without it used to be good.
 * @param ignored keys to skip at any depth, such as free text
 */
export function findDifferences(
  before: unknown,
  after: unknown,
  ignored: ReadonlySet<string> = new Set(),
  path = "",
): Difference[] {
  if (isRecord(before) && isRecord(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys]
      .filter((key) => !ignored.has(key))
      .flatMap((key): Difference[] => {
        const inside = path === "" ? key : `${path}.${key}`;
        if (!Object.hasOwn(after, key)) return [{ path: inside, kind: "removed", detail: show(before[key]) }];
        if (!Object.hasOwn(before, key)) {
          const kind = key === "required" && after[key] !== false ? "changed" : "added";
          return [{ path: inside, kind, detail: show(after[key]) }];
        }
        return findDifferences(before[key], after[key], ignored, inside);
      });
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    if ([...before, ...after].every((one) => !isRecord(one) && !Array.isArray(one))) {
      return compareSets(before, after, path);
    }
    return findDifferences(byName(before), byName(after), ignored, path);
  }
  return before === after ? [] : [{ path, kind: "changed", detail: `${show(before)} -> ${show(after)}` }];
}

function compareSets(before: readonly unknown[], after: readonly unknown[], path: string): Difference[] {
  const addedKind = path.endsWith(".required") ? "changed" : "added";
  return [
    ...before
      .filter((one) => !after.includes(one))
      .map((one): Difference => ({ path, kind: "removed", detail: show(one) })),
    ...after
      .filter((one) => !before.includes(one))
      .map((one): Difference => ({ path, kind: addedKind, detail: show(one) })),
  ];
}

function byName(values: readonly unknown[]): Record<string, unknown> {
  return Object.fromEntries(
    values.map((value, i) => {
      const { name, in: place } = isRecord(value) ? value : {};
      return [typeof name === "string" ? `${show(place)} ${name}` : String(i), value];
    }),
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? "nothing").slice(0, 200);
}
