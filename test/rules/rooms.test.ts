// Tests the rooms: how many files each has, what its README says, and that no two import each other.
// Guarantees: a room's README names exactly what its files import.
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readSources, workspaceOf, type SourceFile } from "../support/repository/read-sources.js";

const MAX_FILES = 16;
const root = fileURLToPath(new URL("../..", import.meta.url));
const sources = readSources();
const production = sources.filter(
  ({ path, isTest }) =>
    !isTest && /^(shared|services\/[a-z-]+|clients\/[a-z-]+|deploy\/local|bench)\/src\//.test(path),
);

interface Room {
  /** From the repository's root. */
  readonly path: string;
  readonly files: readonly SourceFile[];
  /** As a README names them, each with a file that imports it. */
  readonly imports: ReadonlyMap<string, string>;
}

/** Every folder under a `src`, except the `src` itself, which wires a service. */
function readRooms(): Room[] {
  const byFolder = new Map<string, SourceFile[]>();
  for (const file of production) {
    const folder = dirname(file.path);
    if (!folder.endsWith("/src")) byFolder.set(folder, [...(byFolder.get(folder) ?? []), file]);
  }
  return [...byFolder].map(([path, files]) => ({ path, files, imports: importsOf(path, files) }));
}

function importsOf(room: string, files: readonly SourceFile[]): Map<string, string> {
  const imports = new Map<string, string>();
  for (const { path, imports: all } of files)
    for (const { file } of all) {
      const name = file === undefined || dirname(file) === room ? undefined : nameFrom(room, file);
      if (name !== undefined) imports.set(name, path);
    }
  return imports;
}

/** What a room's README calls the room of another file: a room of its own package, or a layer of another one. */
function nameFrom(room: string, file: string): string {
  const [from, to] = [workspaceOf(room), workspaceOf(file)];
  const [, folder = ""] = /\/src\/(.*)$/.exec(dirname(file)) ?? [];
  if (from === to) return folder === "" ? "." : folder;
  if (to === "clients/browser") return "client";
  if (to === "clients/server") return "server";
  return to === "shared" ? `shared/${folder.split("/")[0] ?? ""}` : to;
}

const rooms = readRooms();

test("the reader of rooms finds those of all parts", () => {
  expect(rooms.length).toBeGreaterThan(40);
  for (const part of [
    "shared",
    "services/dispatch",
    "services/push-node",
    "clients/browser",
    "clients/server",
    "deploy/local",
  ])
    expect(rooms.filter(({ path }) => workspaceOf(path) === part).length, part).toBeGreaterThan(1);
});

describe.each(rooms)("$path", ({ path, files, imports }) => {
  test(`holds at most ${MAX_FILES} files`, () => {
    expect(files.length).toBeLessThanOrEqual(MAX_FILES);
  });

  test("has a README that says what it imports", () => {
    const page = join(root, path, "README.md");
    expect(existsSync(page), page).toBe(true);
    const text = readFileSync(page, "utf8");
    expect(text.split("\n")[0]).toBe(`# ${basename(path)}`);
    const [, list = ""] = /^May import: ([^]*?)\.\n/m.exec(`${text}\n`) ?? [];
    const named = [...list.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
    expect(named.sort(), `imported by ${JSON.stringify(Object.fromEntries(imports))}`).toEqual(
      [...imports.keys()].sort(),
    );
  });

  test("names files that exist in it", () => {
    const text = readFileSync(join(root, path, "README.md"), "utf8");
    for (const [, name = ""] of text.matchAll(/`([a-z0-9-]+\.(?:ts|lua|js))`/g))
      expect(existsSync(join(root, path, name)), name).toBe(true);
  });
});

const testFolders = [...new Set(sources.map(({ path }) => dirname(path)))].filter((path) =>
  path.startsWith("test/"),
);

test.each(testFolders)(`%s has a README, and ${MAX_FILES} files of shared code at most`, (folder) => {
  expect(testFolders.length).toBeGreaterThan(15);
  expect(readFileSync(join(root, folder, "README.md"), "utf8").split("\n")[0]).toBe(`# ${basename(folder)}`);
  const shared = sources.filter(({ path }) => dirname(path) === folder && !path.endsWith(".test.ts"));
  expect(shared.length).toBeLessThanOrEqual(MAX_FILES);
});

test("no two rooms import each other", () => {
  const byPath = new Map(rooms.map((room) => [room.path, room]));
  const importsRoom = (from: Room, to: string): boolean =>
    from.files.some((file) => file.imports.some((one) => one.file !== undefined && dirname(one.file) === to));
  const circles = rooms.flatMap((room) =>
    [...byPath.values()]
      .filter(
        (other) => room.path < other.path && importsRoom(room, other.path) && importsRoom(other, room.path),
      )
      .map((other) => `${room.path} <-> ${other.path}`),
  );
  expect(circles).toEqual([]);
});
