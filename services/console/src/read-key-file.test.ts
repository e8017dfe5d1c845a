// Tests of reading the key file.
// Guarantees: an error names the file and never what is in it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readKeyFile } from "./read-key-file.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "petrel-console-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function file(content: string): string {
  const path = join(directory, "key");
  writeFileSync(path, content);
  return path;
}

it("reads one line", () => {
  expect(readKeyFile(file("key1.s3cret\n"))).toBe("key1.s3cret");
});

it.each(["", "s3cret", ".s3cret", "key1.", "key1.s3 cret", "key1.s3cret\nkey2.s3cret"])(
  "refuses %o",
  (content) => {
    const path = file(content);
    expect(() => readKeyFile(path)).toThrow(path);
    expect(() => readKeyFile(path)).not.toThrow("s3cret");
  },
);

it("names a missing file", () => {
  expect(() => readKeyFile(join(directory, "none"))).toThrow("API_KEY_FILE cannot be read");
});
