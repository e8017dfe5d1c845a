// Tests that one file comes out of an archive whole, or not at all.
import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { writeZip } from "../../testing/write-zip.js";
import { readZipEntry } from "./read-zip.js";

test("reads any file of any archive", () => {
  const file = fc.record({
    name: fc.stringMatching(/^[a-z/._-]{1,40}$/),
    content: fc.uint8Array({ maxLength: 5_000 }).map((bytes) => Buffer.from(bytes)),
    stored: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.uniqueArray(file, { selector: ({ name }) => name, minLength: 1, maxLength: 6 }),
      fc.constantFrom("", "a comment", "PK\x05\x06 no end"),
      (files, comment) => {
        const archive = writeZip(files, comment);
        for (const { name, content } of files) expect(readZipEntry(archive, name).equals(content)).toBe(true);
      },
    ),
    { numRuns: 100 },
  );
});

const content = randomBytes(20_000);
const archive = writeZip([
  { name: "first", content: Buffer.from("1") },
  { name: "server", content },
]);

test("reports a missing file", () => {
  expect(() => readZipEntry(archive, "serve")).toThrow("the archive has no serve");
});

test("rejects what was cut off or changed on its way", () => {
  expect(() => readZipEntry(archive.subarray(0, -1), "server")).toThrow();
  expect(() => readZipEntry(archive.subarray(0, 30), "server")).toThrow("the archive is broken");
  expect(() => readZipEntry(Buffer.alloc(0), "server")).toThrow("the archive is broken");
  const changed = Buffer.from(archive);
  changed[10_000] = (changed[10_000] ?? 0) ^ 1;
  expect(() => readZipEntry(changed, "server")).toThrow();
});

test("detects what unpacks to more than it says before unpacking it", () => {
  const bomb = writeZip([{ name: "server", content: Buffer.alloc(10_000_000) }]);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(10_000_000);
  let at = bomb.indexOf(size);
  for (; at !== -1; at = bomb.indexOf(size, at + 1)) bomb.writeUInt32LE(100, at);
  expect(() => readZipEntry(bomb, "server")).toThrow(/larger than|broken/);
});
