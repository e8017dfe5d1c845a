// Tests the projects that `tsc -b` builds: each writes down what it read and made.
// Guarantees: a build after which nothing changed does nothing. A project without a record is checked anew each time.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

interface ProjectFile {
  readonly extends?: string;
  readonly compilerOptions?: { readonly composite?: boolean; readonly incremental?: boolean };
  readonly references?: readonly { readonly path: string }[];
}

const root = fileURLToPath(new URL("../..", import.meta.url));

const read = (path: string): ProjectFile => JSON.parse(readFileSync(path, "utf8")) as ProjectFile;

function keepsRecord(path: string): boolean {
  const { extends: base, compilerOptions: own } = read(path);
  const inherited = base === undefined ? {} : read(join(dirname(path), base)).compilerOptions;
  const { composite = false, incremental = composite } = { ...inherited, ...own };
  return incremental;
}

test("every project keeps a record of its build", () => {
  const projects = (read(join(root, "tsconfig.json")).references ?? []).map(({ path }) => join(root, path));
  expect(projects.length).toBeGreaterThan(10);
  const files = projects.map((path) => (path.endsWith(".json") ? path : join(path, "tsconfig.json")));
  expect(files.filter((path) => !keepsRecord(path))).toEqual([]);
});
