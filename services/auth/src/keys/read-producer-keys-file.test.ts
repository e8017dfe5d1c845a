// Tests of the key file.
// Guarantees: one wrong entry refuses the whole file, without quoting it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";
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

test("accepts valid entries", () => {
  expect(read([good, { ...good, id: "other" }])).toEqual([good, { ...good, id: "other" }]);
  expect(read([])).toEqual([]);
});

test("accepts a key with its secret, which may sign, and must sign if the file says so", () => {
  const { secretSha256, ...rest } = good;
  const secret = "s".repeat(43);
  const entry = { ...rest, secret, require: "signature", messagesPerSecond: "unlimited" };
  expect(read([entry])).toEqual([{ ...entry, secretSha256: hashProducerSecret(secret) }]);
  expect(read([{ ...good, messagesPerSecond: 100 }])).toEqual([{ ...good, messagesPerSecond: 100 }]);
  expect(secretSha256).toHaveLength(64);
});

test.each<[string, unknown, RegExp]>([
  ["invalid JSON", "[{", /not JSON/],
  ["not a list", good, /wrong at \//],
  ["a missing field", [{ ...good, owner: undefined }], /wrong at \/0/],
  ["an unknown field", [{ ...good, password: "plain" }], /wrong at \/0/],
  ["a secret and a hash", [{ ...good, secret: "s3cret".repeat(10) }], /wrong at \/0: it has both/],
  ["neither", [{ ...good, secretSha256: undefined }], /wrong at \/0: it has neither/],
  ["a short secret", [{ ...good, secretSha256: undefined, secret: "s3cret" }], /wrong at \/0\/secret/],
  ["a hash of a key that must sign", [good, { ...good, id: "b", require: "signature" }], /wrong at \/1/],
  ["an unknown requirement", [{ ...good, require: "certificate" }], /wrong at \/0\/require/],
  ["a limit of 0, which once meant none", [{ ...good, messagesPerSecond: 0 }], /"unlimited"/],
  ["a limit below nothing", [{ ...good, messagesPerSecond: -1 }], /messagesPerSecond/],
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

test("the error names a missing file", () => {
  expect(() => readProducerKeysFile(join(directory, "none.json"))).toThrow(
    /PRODUCER_KEYS_FILE cannot be read/,
  );
});
