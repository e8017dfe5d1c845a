// Tests the making of the data directory.
// Guarantees: what cannot be made is an error soon, never a wait; nobody else looks into it.
import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openDataDirectory } from "./data-directory.js";

test("makes missing parents, for their owner only", async () => {
  const base = await mkdtemp(join(tmpdir(), "petrel-data-"));
  const opened = await openDataDirectory(join(base, "a", "b"));
  expect((await stat(opened.secrets)).mode & 0o777).toBe(0o700);
  await opened.release();
  await rm(base, { recursive: true });
});

test("closes files in a directory that others may read", async () => {
  const base = await mkdtemp(join(tmpdir(), "petrel-data-"));
  await mkdir(join(base, "redis"), { mode: 0o755 });
  const opened = await openDataDirectory(base);
  expect((await stat(opened.redis)).mode & 0o777).toBe(0o700);
  await opened.release();
  await rm(base, { recursive: true });
});

test("fails at once if a directory cannot be made although its parent exists", async () => {
  await expect(openDataDirectory("/proc/petrel/data")).rejects.toThrow("cannot be written to (ENOENT)");
});
