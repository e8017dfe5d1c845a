// Tests that modules are found by their real paths, whatever the process looked at before.
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { statSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { forgetLastStat } from "./real-module-paths.js";

let directory: string;
beforeAll(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), "petrel-links-")));
  await mkdir(join(directory, "linked"));
  await mkdir(join(directory, "node_modules"));
  await symlink("../linked", join(directory, "node_modules/linked"));
  for (const name of ["first", "second"]) await writeFile(join(directory, "linked", `${name}.js`), "");
  execFileSync("mkfifo", [join(directory, "pipe")]);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

test("a module behind a link has its real path, even after a look at a pipe", () => {
  const { resolve } = createRequire(join(directory, "main.js"));
  expect(resolve("linked/first.js")).toBe(join(directory, "linked/first.js"));
  statSync(join(directory, "pipe"));
  forgetLastStat();
  expect(resolve("linked/second.js")).toBe(join(directory, "linked/second.js"));
});
