// Tests of the end of a service's log, as the local run shows it.
// Guarantees: one line each, of words that no terminal obeys.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lastLogLines } from "./log-tail.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-log-tail-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test("a line stays one line, and control characters become text", async () => {
  const file = join(directory, "auth.log");
  const structured = JSON.stringify({ msg: "failed", err: { message: "no\u001b[2J\nmore\u009b31m\u202e" } });
  await writeFile(file, `first\n${structured}\nraw\u001b]0;title\u0007\n`);
  expect(await lastLogLines(file, 2)).toEqual([
    "failed: no\\u001b[2J more\\u009b31m\\u202e",
    "raw\\u001b]0;title\\u0007",
  ]);
});
