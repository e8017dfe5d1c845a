// Tests the first lines of files: every name in a place line exists. A file that was renamed or moved must not live on
// in its neighbours' heads.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const paths = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((path) => path !== "");

/** Each file as the names on its path, without endings and versions: ["services", "collect", "src", "app"]. */
const known = paths.map((path) =>
  path.split("/").map((name, i, { length }) => (i === length - 1 ? withoutEnding(name) : name)),
);

function withoutEnding(name: string): string {
  return name.replace(/\.(test\.)?(ts|js|mjs|lua|md|c|sh)$/, "").replace(/\.v\d+$/, "");
}

/** The place line of a head: the text before its first colon, if it has an arrow. */
function placeOf(text: string): string | undefined {
  const lines: string[] = [];
  for (const line of text.replace(/^#!.*\n/, "").split("\n")) {
    if (!/^(\/\/|--)/.test(line) || line.includes("Guarantees:")) break;
    lines.push(line.replace(/^(\/\/|--) ?/, ""));
  }
  const [, place] = /^((?:[^:]|:(?! ))*): /.exec(lines.join(" ")) ?? [];
  return place?.includes("->") === true ? place : undefined;
}

/** The names in a place line: words with a slash or a hyphen; `room/{a, b}` is expanded. */
function namesIn(place: string): string[] {
  const apart = place.replace(/([\w./-]*\/)\{([^}]*)\}/g, (_all, folder: string, names: string) =>
    names
      .split(",")
      .map((name) => `${folder}${name.trim()}`)
      .join(", "),
  );
  return apart
    .split(/->|[,;{}]|\s+/)
    .map((name) => name.replace(/\*$/, ""))
    .filter((name) => /^[a-z0-9.]+([/-][a-z0-9.-]+)+$/.test(name))
    .map(withoutEnding);
}

/** Whether some file has these names on its path, in this order; the last may begin a file's name. */
function exists(name: string): boolean {
  const wanted = name.split("/");
  return known.some((path) => {
    let i = 0;
    for (const part of path)
      if (part === wanted[i] || (i === wanted.length - 1 && part.startsWith(wanted[i] ?? ""))) i++;
    return i >= wanted.length;
  });
}

const heads = paths
  .filter((path) => /\.(ts|lua)$/.test(path))
  .flatMap((path) => {
    const place = placeOf(readFileSync(join(root, path), "utf8"));
    return place === undefined ? [] : [{ path, place }];
  });

test("the reader of heads finds places, and the files they name", () => {
  const place = placeOf(
    "// collect/{accept/a-b, app} -> here -> scripts/ack*: what it does.\n// Guarantees: x: y\n",
  );
  expect(place).toBe("collect/{accept/a-b, app} -> here -> scripts/ack*");
  expect(namesIn(place ?? "")).toEqual(["collect/accept/a-b", "collect/app", "scripts/ack"]);
  expect(placeOf("// Tests only: nothing.\n")).toBeUndefined();
  expect(exists("shared/redis/keys")).toBe(true);
  expect(exists("redis/shared/keys")).toBe(false);
  expect(heads.length).toBeGreaterThan(150);
});

test("what a place line names exists", () => {
  const wrong = heads.flatMap(({ path, place }) =>
    namesIn(place)
      .filter((name) => !exists(name))
      .map((name) => `${path}: ${name}`),
  );
  expect(wrong).toEqual([]);
});
