// Tests only: the metrics that services expose, and those that docs/operate/metrics.md has.
// Guarantees: only Petrel's own are read; what every series has (`component`, `le`) is not listed among the labels.
import { readFileSync } from "node:fs";

export interface Family {
  readonly type: string;
  readonly labels: ReadonlySet<string>;
}

/** Metric -> its type, and the labels of its series, over all texts; only ours. */
export function familiesOf(texts: readonly string[]): ReadonlyMap<string, Family> {
  const types = new Map<string, string>();
  const labels = new Map<string, Set<string>>();
  for (const line of texts.flatMap((text) => text.split("\n"))) {
    const [, declared, type = ""] = /^# TYPE (petrel_\w+) (\w+)/.exec(line) ?? [];
    if (declared !== undefined) types.set(declared, type);
    const [, series = "", inside = ""] = /^(petrel_\w+)\{(.*)\} /.exec(line) ?? [];
    const name = types.has(series) ? series : series.replace(/_(bucket|sum|count)$/, "");
    if (!types.has(name)) continue;
    const known = labels.get(name) ?? new Set<string>();
    for (const [, label = ""] of inside.matchAll(/(\w+)="/g)) {
      if (label !== "component" && label !== "le") known.add(label);
    }
    labels.set(name, known);
  }
  return new Map(
    [...types].map(([name, type]) => [name, { type, labels: labels.get(name) ?? new Set<string>() }]),
  );
}

/** Rows of docs/operate/metrics.md: `name` | type | unit | labels | where | meaning. */
export function documented(): ReadonlyMap<
  string,
  { readonly type: string; readonly unit: string; readonly labels: string[]; readonly where: string[] }
> {
  const page = readFileSync(new URL("../../../docs/operate/metrics.md", import.meta.url), "utf8");
  return new Map(
    [...page.matchAll(/^\| `(petrel_\w+)` \|([^|]+)\|([^|]+)\|([^|]*)\|([^|]+)\|/gm)].map(
      ([, name = "", type = "", unit = "", labels = "", where = ""]) => [
        name,
        {
          type: type.trim(),
          unit: unit.trim(),
          labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = ""]) => label),
          where: where.trim().split(", "),
        },
      ],
    ),
  );
}
