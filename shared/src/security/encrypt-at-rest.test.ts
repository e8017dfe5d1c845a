// Tests of secrets at rest.
// Guarantees: a change of any single byte is detected.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createAtRestCipher, readEncryptionKeyFile } from "./encrypt-at-rest.js";

const directory = mkdtempSync(join(tmpdir(), "petrel-at-rest-"));
afterAll(() => rmSync(directory, { recursive: true }));

const key = randomBytes(32);
const cipher = createAtRestCipher(key);

test("what is sealed opens again, and differs each time", () => {
  const one = cipher.encrypt("secret ✓", "record:1");
  expect(one).toMatch(/^v1\.[\w-]{8}\.[\w-]{16}\.[\w-]+$/);
  expect(one).not.toContain("secret");
  expect(cipher.decrypt(one, "record:1")).toBe("secret ✓");
  expect(createAtRestCipher(key).decrypt(one, "record:1")).toBe("secret ✓");
  expect(cipher.encrypt("secret ✓", "record:1")).not.toBe(one);
});

test("does not open elsewhere, nor with another key", () => {
  const sealed = cipher.encrypt("secret", "record:1");
  expect(() => cipher.decrypt(sealed, "record:2")).toThrow("belongs to something else");
  expect(() => createAtRestCipher(randomBytes(32)).decrypt(sealed, "record:1")).toThrow("another key");
});

test("notices any changed byte", () => {
  const sealed = cipher.encrypt("secret", "c");
  const [version, name, nonce, body] = sealed.split(".") as [string, string, string, string];
  for (const [part, at] of [
    [nonce, 2],
    [body, 3],
  ] as const) {
    const bytes = Buffer.from(part, "base64url");
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes);
      changed[i] = (changed[i] ?? 0) ^ 1;
      const parts = [version, name, nonce, body];
      parts[at] = changed.toString("base64url");
      expect(() => cipher.decrypt(parts.join("."), "c")).toThrow();
    }
  }
  expect(() => cipher.decrypt(`v2.${name}.${nonce}.${body}`, "c")).toThrow("this version");
  expect(() => cipher.decrypt(`v1.${name}.${nonce}.AAAA`, "c")).toThrow("cut short");
  expect(() => cipher.decrypt("plain", "c")).toThrow("this version");
});

test("a key file holds 32 bytes as base64, or several such lines, and nothing else", () => {
  const file = join(directory, "key");
  writeFileSync(file, `${key.toString("base64")}\n`);
  expect(readEncryptionKeyFile(file)).toEqual([key]);
  for (const wrong of ["", "abc", randomBytes(16).toString("base64"), key.toString("hex")]) {
    writeFileSync(file, wrong);
    expect(() => readEncryptionKeyFile(file)).toThrow(/KEY_ENCRYPTION_FILE must hold 32 bytes/);
  }
  expect(() => readEncryptionKeyFile(join(directory, "none"))).toThrow(/KEY_ENCRYPTION_FILE cannot be read/);
});
