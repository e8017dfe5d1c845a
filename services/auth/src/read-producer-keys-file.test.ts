// Tests of the key file.
// Guarantees: one wrong entry refuses the whole file, without quoting it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readProducerKeysFile } from "./read-producer-keys-file.js";

const directory = mkdtempSync(join(tmpdir(), "petrel-keys-"));
const file = join(directory, "keys.json");
afterAll(() => rmSync(directory, { recursive: true }));

const good = {
  id: "dev",
  owner: "dev",
  name: "Dev",
  scopes: ["send", "admin"],
  secretSha256: "a1".repeat(32),
};

function read(content: unknown): unknown {
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return readProducerKeysFile(file);
}

test("good entries are taken", () => {
  expect(read([good, { ...good, id: "other" }])).toEqual([good, { ...good, id: "other" }]);
  expect(read([])).toEqual([]);
});

test.each<[string, unknown, RegExp]>([
  ["no JSON", "[{", /not JSON/],
  ["no list", good, /wrong at \//],
  ["a missing field", [{ ...good, owner: undefined }], /wrong at \/0/],
  ["an unknown field", [{ ...good, secret: "plain" }], /wrong at \/0/],
  ["an unknown scope", [good, { ...good, id: "b", scopes: ["fly"] }], /wrong at \/1\/scopes/],
  ["no scopes", [{ ...good, scopes: [] }], /scopes/],
  ["a scope twice", [{ ...good, scopes: ["send", "send"] }], /scopes/],
  ["a secret instead of its hash", [{ ...good, secretSha256: "s3cret" }], /secretSha256/],
  ["a hash in capitals", [{ ...good, secretSha256: "A1".repeat(32) }], /secretSha256/],
  ["an id with a dot", [{ ...good, id: "a.b" }], /id/],
  ["an owner with a space", [{ ...good, owner: "a b" }], /owner/],
  ["an id twice", [good, good], /dev twice/],
])("%s refuses the file", (_what, content, message) => {
  expect(() => read(content)).toThrow(message);
  expect(() => read(content)).toThrow(/^PRODUCER_KEYS_FILE/);
  expect(() => read(content)).not.toThrow(/s3cret|plain/);
});

test("a file that is not there is named", () => {
  expect(() => readProducerKeysFile(join(directory, "none.json"))).toThrow(
    /PRODUCER_KEYS_FILE cannot be read/,
  );
});
